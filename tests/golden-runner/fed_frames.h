// SPDX-License-Identifier: LGPL-2.1-or-later
// The pictures that cases feed: a moving pattern that every language can make.
#pragma once

#include <ATen/ATen.h>

namespace golden {

// Frames `first` to first + count - 1 of the pattern that the cases' notes describe, [count, 3, height, width] in 0..1.
inline at::Tensor fed_frames(int64_t first, int64_t count, int64_t width, int64_t height) {
  const at::Tensor n = at::arange(first, first + count).view({-1, 1, 1, 1}),
                   c = at::arange(3).view({3, 1, 1}), y = at::arange(height).view({-1, 1}),
                   x = at::arange(width);
  return ((c * 2 + 5) * x + (c + 3) * y + n * 4 * (c + 1)).remainder(256).to(at::kFloat) / 255;
}

}  // namespace golden
