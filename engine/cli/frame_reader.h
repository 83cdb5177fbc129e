// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads frames from disk: a PNG file, or a folder of PNG files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace flowcache::cli {

struct Frames {
  std::vector<uint8_t> rgb;  // count x height x width x 3
  uint32_t count = 0, width = 0, height = 0;
};

// Reads FILE.png, or every *.png of a folder in the order of their names. Throws std::runtime_error if there
// is none, for a file that is no PNG, for more than 4096 frames or 8192 pixels a side, and for frames of
// different sizes.
Frames read_frames(const std::string& path);

}  // namespace flowcache::cli
