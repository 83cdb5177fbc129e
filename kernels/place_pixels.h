// SPDX-License-Identifier: LGPL-2.1-or-later
// Upsampling by a convolution whose output channels are the pixels of a finer grid: its last step, in which
// they go to their places. On a CPU, fp32 and bf16 run on all cores, or on the calling thread inside a
// parallel section.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

// Puts the four pixels ("phases") that a 2x2 convolution of a padded picture computed for each coarse pixel
// in their places: y [n, h + 1, w + 1, frames, 2, 2, channels], contiguous, where position (p, q) holds phase
// (r, c) of coarse pixel (p - r, q - c) -> [n * frames, 2h, 2w, channels]. relu: negative values become 0.
at::Tensor place_phases(const at::Tensor& y, bool relu);

// y [n, h, w, channels * patch * patch], contiguous -> `planes` [n, channels, h * patch, w * patch] fp32,
// contiguous: what at::pixel_shuffle does with channels first.
void place_patches(const at::Tensor& y, int64_t patch, at::Tensor planes);

}  // namespace flowcache
