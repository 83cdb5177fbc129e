// SPDX-License-Identifier: LGPL-2.1-or-later
// Hides jumps between two chunks and between two latent frames. This project's own, for models that draw each
// chunk from new noise, and for small decoders, which make of each latent frame some pictures that hardly
// differ. Where the picture jumps at such a border although little moves there, the difference fades away
// over some frames.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

class SeamFade {
 public:
  // chunk_frames: most frames over which a difference between two chunks fades, the larger the difference
  // beside the motion, the more of them; 0: none does.
  // latent_frames: the same between two latent frames of a chunk. stride: frames that a latent frame becomes,
  // counted from the chunk's end, for its first latent frame may become fewer.
  explicit SeamFade(int64_t chunk_frames, int64_t latent_frames = 0, int64_t stride = 1)
      : chunk_frames_(chunk_frames), latent_frames_(stride > 1 ? latent_frames : 0), stride_(stride) {}

  // Changes the next chunk's decoded frames in place: [n, 3, H, W], fp32 in 0..1, on any device. cut: the
  // chunk does not continue the one before and stays as it is.
  void apply(at::Tensor& frames, bool cut);
  void forget() { last_ = motion_ = at::Tensor(); }

 private:
  bool inside(int64_t frame, int64_t count) const;
  at::Tensor motion_of(const at::Tensor& frames) const;
  void fade(at::Tensor& frames, int64_t begin, const at::Tensor& before, const at::Tensor& motion,
            int64_t most) const;

  int64_t chunk_frames_, latent_frames_, stride_;
  at::Tensor last_;    // [3, H, W]: the last frame shown
  at::Tensor motion_;  // [h, w]: how much the picture changes from frame to frame, in cells of some pixels
};

}  // namespace flowcache
