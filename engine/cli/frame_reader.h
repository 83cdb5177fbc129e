// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads the frames that a video goes on from: a picture, or a folder of pictures.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace flowcache::cli {

struct Frames {
  std::vector<uint8_t> rgb;  // count x height x width x 3
  uint32_t count = 0, width = 0, height = 0;
};

// The picture, or every picture of a folder in the order of their names. Reads only the beginning of the files. Throws
// std::runtime_error if there is none, and for more than 4096 of them.
std::vector<std::string> prefix_files(const std::string& path);
// Each in the video's size (pictures/picture.h). Throws std::runtime_error for one that cannot be read.
Frames read_frames(const std::vector<std::string>& files, uint32_t width, uint32_t height);

}  // namespace flowcache::cli
