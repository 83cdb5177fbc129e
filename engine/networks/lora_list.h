// SPDX-License-Identifier: LGPL-2.1-or-later
// LoRAs as users name them: "FILE[:SCALE],FILE[:SCALE],…".
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace flowcache {

struct LoraFile {
  std::string file;
  double scale = 1;
};

// A comma, a colon or a backslash in a file's name has a backslash in front of it; a colon needs it only where a number
// follows. Throws FC_ERROR_ARGUMENT for a scale outside -10..10 or that is no number, and for an entry without a file.
std::vector<LoraFile> parse_loras(std::string_view text);

}  // namespace flowcache
