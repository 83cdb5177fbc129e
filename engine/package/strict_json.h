// SPDX-License-Identifier: LGPL-2.1-or-later
// JSON from files that may be damaged or hostile.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace flowcache {

// Parses one JSON document. Throws std::runtime_error, with a short reason and the position, for text that is
// not JSON or not UTF-8, for a key that occurs twice in an object, and for nesting deeper than 64.
nlohmann::json parse_strict_json(std::string_view text);

// The value as JSON text, cut after 80 characters. Any value may be put into a message in this form.
std::string shorten(const nlohmann::json& value);

}  // namespace flowcache
