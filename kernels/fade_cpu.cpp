// SPDX-License-Identifier: LGPL-2.1-or-later
#include <ATen/Parallel.h>

#include <vector>

#include "fade.h"
#include "simd/pixels.h"

namespace flowcache {
namespace {

bool plain(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && x.is_contiguous();
}

}  // namespace

at::Tensor change_in_cells(const at::Tensor& a, const at::Tensor& b, int64_t side) {
  if (!plain(a) || !plain(b))
    return at::avg_pool2d((a - b).abs_(), side, side, 0, /*ceil_mode=*/true).mean(at::IntArrayRef{0, 1});
  const int64_t planes = a.size(0) * a.size(1), height = a.size(2), width = a.size(3);
  const int64_t across = (width + side - 1) / side, down = (height + side - 1) / side;
  const auto *first = a.const_data_ptr<float>(), *second = b.const_data_ptr<float>();
  at::Tensor cells = at::empty({down, across}, a.options());
  auto* out = cells.mutable_data_ptr<float>();
  at::parallel_for(0, down, 4, [&](int64_t begin, int64_t end) {
    std::vector<float> sum(width);
    for (int64_t y = begin; y < end; ++y) {
      const int64_t top = y * side, bottom = std::min(top + side, height);
      std::fill(sum.begin(), sum.end(), 0.f);
      for (int64_t plane = 0; plane < planes; ++plane)
        for (int64_t row = plane * height + top; row < plane * height + bottom; ++row)
          simd::add_change_row(first + row * width, second + row * width, width, sum.data());
      for (int64_t x = 0; x < across; ++x) {
        const int64_t left = x * side, right = std::min(left + side, width);
        float all = 0;
        for (int64_t i = left; i < right; ++i) all += sum[i];
        out[y * across + x] = all / static_cast<float>(planes * (bottom - top) * (right - left));
      }
    }
  });
  return cells;
}

void fade_from(const at::Tensor& before, const at::Tensor& rate, const at::Tensor& share, at::Tensor frames) {
  const int64_t count = frames.size(0), channels = frames.size(1), height = frames.size(2),
                width = frames.size(3);
  if (!plain(frames) || !plain(before) || rate.stride(1) != 1 || share.stride(1) != 1) {
    const at::Tensor frame = at::arange(1, count + 1, rate.options()).view({count, 1, 1, 1});
    frames.lerp_(before, (1 - frame * rate).clamp_min_(0).mul_(share));
    return;
  }
  const auto *from = before.const_data_ptr<float>(), *rates = rate.const_data_ptr<float>(),
             *shares = share.const_data_ptr<float>();
  auto* to = frames.mutable_data_ptr<float>();
  at::parallel_for(0, height, 16, [&](int64_t begin, int64_t end) {
    std::vector<float> left(width);
    for (int64_t y = begin; y < end; ++y)
      for (int64_t i = 0; i < count; ++i) {
        simd::left_row(rates + y * rate.stride(0), shares + y * share.stride(0), static_cast<float>(i + 1),
                       width, left.data());
        for (int64_t c = 0; c < channels; ++c)
          simd::mix_row(from + (c * height + y) * width, left.data(), width,
                        to + ((i * channels + c) * height + y) * width);
      }
  });
}

}  // namespace flowcache
