// SPDX-License-Identifier: LGPL-2.1-or-later
// Frames to latents: the way in for image and video prefixes, and for segments that continue a decoded video.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

// Thread-safe: const, no state but the weights.
class FrameEncoder {
 public:
  virtual ~FrameEncoder() = default;
  // frames [n, 3, H, W] fp32 in 0..1, a whole clip. Returns latents [F, C, h, w] fp32 as the transformer
  // takes them. Throws FC_ERROR_ARGUMENT for a size that the encoder cannot divide, or a number of frames
  // that it cannot group.
  virtual at::Tensor encode(const at::Tensor& frames) const = 0;
};

}  // namespace flowcache
