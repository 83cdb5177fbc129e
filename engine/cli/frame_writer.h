// SPDX-License-Identifier: LGPL-2.1-or-later
// Writes frames to disk: a Y4M file or numbered images.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "flowcache.h"

namespace flowcache::cli {

// "x.y4m" or "-" (standard output): Y4M, 4:2:0, limited range. "x-%04d.png": one PNG file for each frame. Any
// other path throws std::runtime_error.
class FrameWriter {
 public:
  // Throws what the constructor would throw for this path. Creates no file.
  static void check_path(const std::string& path);
  FrameWriter(const std::string& path, const fc_model_info& video);
  ~FrameWriter();
  FrameWriter(const FrameWriter&) = delete;
  FrameWriter& operator=(const FrameWriter&) = delete;
  // Writes all frames of a chunk. Throws std::runtime_error if the disk is full or fails.
  void write(const fc_chunk* chunk, uint32_t frames);
  // Writes what is buffered. Throws std::runtime_error if that fails.
  void close();

 private:
  void write_y4m(const fc_chunk* chunk, uint32_t frame);
  void write_png(const fc_chunk* chunk, uint32_t frame);

  std::string path_;
  fc_model_info video_;
  std::FILE* file_ = nullptr;  // only for Y4M
  int next_image_ = 0;
  std::vector<unsigned char> pixels_;
};

}  // namespace flowcache::cli
