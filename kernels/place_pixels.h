// SPDX-License-Identifier: LGPL-2.1-or-later
// The last step of upsampling by a convolution whose output channels are the pixels of a finer grid: it moves
// the pixels to their places. On a CPU, fp32 and bf16 run on several threads, or on the calling thread alone
// inside a parallel section.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

// A 2x2 convolution of a padded picture has computed four pixels ("phases") for each coarse pixel. This
// puts them in their places. y: [n, h + 1, w + 1, frames, 2, 2, channels], contiguous; position (p, q)
// holds phase (r, c) of coarse pixel (p - r, q - c). Returns [n * frames, 2h, 2w, channels]. relu:
// negative values become 0.
at::Tensor place_phases(const at::Tensor& y, bool relu);

// As at::pixel_shuffle, but with channels last on the way in. y [n, h, w, channels * patch * patch],
// contiguous -> planes [n, channels, h * patch, w * patch] fp32, contiguous, which the caller provides.
void place_patches(const at::Tensor& y, int64_t patch, at::Tensor planes);

}  // namespace flowcache
