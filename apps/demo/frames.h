// SPDX-License-Identifier: LGPL-2.1-or-later
// Frames that the demo keeps to look at afterwards: a contact sheet, and PSNR between two runs.
#pragma once

#include <gst/video/video.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace demo {

struct BufferUnref {
  void operator()(GstBuffer* buffer) const { gst_buffer_unref(buffer); }
};
using Buffer = std::unique_ptr<GstBuffer, BufferUnref>;

// Copies of some frames of one run, by frame number. One thread at a time.
class FrameStore {
 public:
  void set_info(const GstVideoInfo& info) { info_ = info; }
  // Copies the pixels: the source's pool gets its buffer back at once.
  void add(uint64_t number, GstBuffer* buffer) { frames_[number].reset(gst_buffer_copy_deep(buffer)); }
  bool empty() const { return frames_.empty(); }
  bool has(uint64_t number) const { return frames_.count(number) != 0; }
  uint64_t last() const { return frames_.rbegin()->first; }
  int width() const { return GST_VIDEO_INFO_WIDTH(&info_); }
  int height() const { return GST_VIDEO_INFO_HEIGHT(&info_); }
  // Tightly packed RGB, width·height·3 bytes. The frame must be there.
  std::vector<uint8_t> rgb(uint64_t number) const;

 private:
  GstVideoInfo info_{};
  std::map<uint64_t, Buffer> frames_;
};

// Peak signal-to-noise ratio in dB over all RGB samples of the first `count` frames that both have; +inf if
// equal, NaN if they have none in common.
double psnr(const FrameStore& a, const FrameStore& b, uint64_t count);

// Writes the frames with these numbers, in rows of `columns`, as a PNG. Numbers that are not kept are left
// out. Returns "" or what went wrong.
std::string write_contact_sheet(const FrameStore& frames, const std::vector<uint64_t>& numbers, int columns,
                                const std::string& path);

// Numbers of `count` frames spread evenly over a video of `total`.
std::vector<uint64_t> spread(uint64_t total, uint64_t count);

}  // namespace demo
