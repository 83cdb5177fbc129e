// SPDX-License-Identifier: LGPL-2.1-or-later
// A video that `generate --input` repaints, frame by frame: Y4M from a file or standard input, or PNG files.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "cli/frame_reader.h"
#include "cli/handles.h"

namespace flowcache::cli {

class VideoInput {
 public:
  // path: FILE.y4m, - for standard input, FILE.png or a folder of PNG files. Throws std::runtime_error for all that is no
  // such video or has another size than `video`.
  VideoInput(const std::string& path, const fc_model_info& video);
  // The next frame in `pixels`, with planes that refer to it; false at the end. Throws std::runtime_error for a frame that
  // is cut off.
  bool next(std::vector<uint8_t>& pixels, fc_planes& planes);

 private:
  void read_header(const fc_model_info& video);
  void check_size(uint32_t width, uint32_t height, const fc_model_info& video) const;
  [[noreturn]] void fail(const std::string& why) const;

  struct Close {
    void operator()(FILE* file) const {
      if (file != stdin) std::fclose(file);
    }
  };
  std::string path_;
  std::unique_ptr<FILE, Close> file_;  // null: PNG files
  Frames images_;
  uint32_t width_ = 0, height_ = 0, next_image_ = 0;
};

// Feeds a stream from a video, ahead of what it makes. The last chunk is filled up with the last frame.
class Feeder {
 public:
  Feeder(fc_stream* stream, VideoInput& input, double strength, bool follow_motion);
  // Feeds all that the next chunk needs. False if nothing is left to show. Throws std::runtime_error.
  bool feed_ahead();
  // A chunk of so many frames came out. Returns how many of them belong to the video.
  uint32_t shown(uint32_t frames);

 private:
  fc_stream* stream_;
  VideoInput& input_;
  double strength_;
  bool follow_motion_;
  uint32_t in_flight_ = 1;
  std::vector<uint8_t> last_;  // the last frame read
  fc_planes last_planes_{};    // its planes
  uint64_t read_ = 0, shown_ = 0, fed_chunks_ = 0, chunks_ = 0;
};

}  // namespace flowcache::cli
