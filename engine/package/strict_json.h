// SPDX-License-Identifier: LGPL-2.1-or-later
// JSON from files that nobody vouches for.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace flowcache {

// Parses one JSON document. Throws std::runtime_error (a short reason with the byte) for anything that is not
// JSON, for text that is not UTF-8, for a key that occurs twice in one object and for nesting deeper than 64.
nlohmann::json parse_strict_json(std::string_view text);

// The value as it would be written, cut after 80 characters; safe for messages whatever it holds.
std::string shorten(const nlohmann::json& value);

}  // namespace flowcache
