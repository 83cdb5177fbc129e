// SPDX-License-Identifier: LGPL-2.1-or-later
#include <ATen/Parallel.h>

#include "place_pixels.h"
#include "simd/pixels.h"

namespace flowcache {
namespace {

template <class T>
void place_all(const at::Tensor& y, bool relu, at::Tensor& fine) {
  const int64_t h = y.size(1) - 1, w = y.size(2) - 1, frames = y.size(3), channels = y.size(6);
  const int64_t step = frames * 4 * channels;  // values of one position
  const auto* from = static_cast<const T*>(y.const_data_ptr());
  auto* to = static_cast<T*>(fine.mutable_data_ptr());
  // Each is a row of the finer grid: row 2p + r of frame n * frames + f.
  at::parallel_for(0, y.size(0) * frames * 2 * h, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t r = row % 2, p = row / 2 % h, f = row / (2 * h) % frames, n = row / (2 * h * frames);
      for (int64_t c = 0; c < 2; ++c) {
        const int64_t position = (n * (h + 1) + p + r) * (w + 1) + c;
        simd::place_row(from + position * step + ((f * 2 + r) * 2 + c) * channels, step, w, channels, relu,
                        to + (row * 2 * w + c) * channels);
      }
    }
  });
}

template <class T>
void spread_all(const at::Tensor& y, int64_t patch, at::Tensor& planes) {
  const int64_t h = y.size(1), w = y.size(2), step = y.size(3), channels = planes.size(1);
  const auto* from = static_cast<const T*>(y.const_data_ptr());
  auto* to = planes.mutable_data_ptr<float>();
  // Coarse row by coarse row, so that a row is still in the cache for all fine rows that are made of it.
  at::parallel_for(0, y.size(0) * h, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t c = 0; c < channels; ++c)
        for (int64_t i = 0; i < patch; ++i) {
          const int64_t fine = ((row / h * channels + c) * h + row % h) * patch + i;
          simd::spread_row(from + row * w * step + (c * patch + i) * patch, step, w, patch,
                           to + fine * w * patch);
        }
  });
}

// For devices and types without a kernel of their own.
void place_plainly(const at::Tensor& y, bool relu, at::Tensor& fine) {
  const int64_t h = y.size(1) - 1, w = y.size(2) - 1;
  at::Tensor grid = fine.view({y.size(0), y.size(3), h, 2, w, 2, y.size(6)});
  for (const int r : {0, 1})
    for (const int c : {0, 1}) {
      at::Tensor to = grid.select(3, r).select(4, c);  // [n, frames, h, w, channels]
      to.copy_(y.slice(1, r, r + h).slice(2, c, c + w).select(4, r).select(4, c).permute({0, 3, 1, 2, 4}));
      if (relu) to.clamp_min_(0);
    }
}

}  // namespace

at::Tensor place_phases(const at::Tensor& y, bool relu) {
  at::Tensor fine =
      at::empty({y.size(0) * y.size(3), 2 * (y.size(1) - 1), 2 * (y.size(2) - 1), y.size(6)}, y.options());
  if (y.is_cpu() && y.scalar_type() == at::kFloat)
    place_all<float>(y, relu, fine);
  else if (y.is_cpu() && y.scalar_type() == at::kBFloat16)
    place_all<uint16_t>(y, relu, fine);
  else
    place_plainly(y, relu, fine);
  return fine;
}

void place_patches(const at::Tensor& y, int64_t patch, at::Tensor planes) {
  if (y.is_cpu() && y.scalar_type() == at::kFloat)
    spread_all<float>(y, patch, planes);
  else if (y.is_cpu() && y.scalar_type() == at::kBFloat16)
    spread_all<uint16_t>(y, patch, planes);
  else
    planes.copy_(at::pixel_shuffle(y.permute({0, 3, 1, 2}), patch));
}

}  // namespace flowcache
