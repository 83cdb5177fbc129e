// SPDX-License-Identifier: LGPL-2.1-or-later
// Hides jumps between two chunks. This project's own, for models that draw each chunk from new noise. Where
// the picture jumps at the border of two chunks although little moves there, the difference fades away over
// some frames.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

class SeamFade {
 public:
  // frames: number of frames over which the difference fades; 0: nothing is changed.
  explicit SeamFade(int64_t frames) : frames_(frames) {}

  // Changes the next chunk's decoded frames in place: [n, 3, H, W], fp32 in 0..1, on any device. cut: the
  // chunk does not continue the one before and stays as it is.
  void apply(at::Tensor& frames, bool cut);
  void forget() { last_ = motion_ = at::Tensor(); }

 private:
  int64_t frames_;
  at::Tensor last_;    // [3, H, W]: the last frame shown
  at::Tensor motion_;  // [1, H, W]: how much the picture changes there from frame to frame
};

}  // namespace flowcache
