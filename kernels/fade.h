// SPDX-License-Identifier: LGPL-2.1-or-later
// How much frames change, and how some frames come out of another one gradually (stream/seam_fade.h). On a CPU,
// contiguous fp32 runs on several threads, and results do not depend on their number. Other devices use LibTorch's
// operators.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

// The mean of |a - b| over frames, channels and squares of side x side pixels, fewer at the right and the bottom.
// a, b: [n, channels, H, W], fp32, n > 0. Returns [ceil(H / side), ceil(W / side)].
at::Tensor change_in_cells(const at::Tensor& a, const at::Tensor& b, int64_t side);

// Mixes frame i with max(0, 1 - (i + 1) * rate) * share of `before`, in place. frames: [n, channels, H, W], fp32;
// before: [channels, H, W]; rate, share: [H, W], for each pixel.
void fade_from(const at::Tensor& before, const at::Tensor& rate, const at::Tensor& share, at::Tensor frames);

}  // namespace flowcache
