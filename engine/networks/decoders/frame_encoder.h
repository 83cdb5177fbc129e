// SPDX-License-Identifier: LGPL-2.1-or-later
// From frames to latents: for images and videos that a stream goes on from.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

// Immutable; any thread.
class FrameEncoder {
 public:
  virtual ~FrameEncoder() = default;
  // frames: a whole clip [n, 3, H, W] fp32 in 0..1. Returns latents [F, C, h, w] fp32 as the
  // transformer takes them. Throws FC_ERROR_ARGUMENT if the encoder cannot divide the picture or cannot
  // group so many frames.
  virtual at::Tensor encode(const at::Tensor& frames) const = 0;
};

}  // namespace flowcache
