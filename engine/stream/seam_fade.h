// SPDX-License-Identifier: LGPL-2.1-or-later
// Where one chunk does not quite go on from the one before. This project's own, for models that draw each
// chunk from noise: what jumps at the border although hardly anything moves there is faded in over some
// frames.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

class SeamFade {
 public:
  // frames: over how many the difference goes; 0 leaves everything as it is.
  explicit SeamFade(int64_t frames) : frames_(frames) {}

  // Makes of the next chunk's decoded frames [n, 3, H, W], fp32 in 0..1 on any device, what is shown of them,
  // in place. `cut`: the chunk shall not go on from the one before; it is shown as it is.
  void apply(at::Tensor& frames, bool cut);
  void forget() { last_ = motion_ = at::Tensor(); }

 private:
  int64_t frames_;
  at::Tensor last_;    // [3, H, W]: the last frame shown
  at::Tensor motion_;  // [1, H, W]: how much the picture changes from frame to frame there
};

}  // namespace flowcache
