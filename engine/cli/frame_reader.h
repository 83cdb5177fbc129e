// SPDX-License-Identifier: LGPL-2.1-or-later
// Frames from disk: a PNG file, or a folder of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace flowcache::cli {

struct Frames {
  std::vector<uint8_t> rgb;  // count x height x width x 3
  uint32_t count = 0, width = 0, height = 0;
};

// FILE.png, or every *.png of a folder in the order of their names. Throws std::runtime_error: nothing there,
// no PNG, more than 4096 frames, more than 8192 pixels a side, or frames of different sizes.
Frames read_frames(const std::string& path);

}  // namespace flowcache::cli
