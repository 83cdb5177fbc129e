// SPDX-License-Identifier: LGPL-2.1-or-later
#include <ATen/Parallel.h>

#include <vector>

#include "color_convert.h"
#include "simd/pixels.h"

namespace flowcache {
namespace {

void yuv(const at::Tensor& frame, const fc_planes& planes, int64_t row_pair, simd::RgbRow sum, float* sums) {
  const int64_t height = frame.size(1), width = frame.size(2), plane = height * width;
  const float* data = frame.const_data_ptr<float>();
  const int64_t top = 2 * row_pair, bottom = std::min(top + 1, height - 1);
  auto out = [&](int i, int64_t y) { return static_cast<uint8_t*>(planes.plane[i]) + y * planes.stride[i]; };
  for (int64_t y = top; y <= bottom; ++y) {
    const float* r = data + y * width;
    simd::luma_row({r, r + plane, r + 2 * plane}, width, out(0, y));
  }
  for (int c = 0; c < 3; ++c)
    simd::add_clamped_rows(data + c * plane + top * width, data + c * plane + bottom * width, width,
                           sums + c * width);
  if (planes.format == FC_FORMAT_NV12)
    simd::chroma_row(sum, width, out(1, row_pair), out(1, row_pair) + 1, 2);
  else
    simd::chroma_row(sum, width, out(1, row_pair), out(2, row_pair), 1);
}

// The fewest rows that are worth a thread. Starting threads takes longer than a small frame, and frames are
// converted while the network runs, whose threads further ones would slow down.
int64_t fewest_rows(int64_t width) {
  constexpr int64_t pixels = 1 << 20;
  return std::max<int64_t>(1, pixels / width);
}

}  // namespace

void color_convert_on_cpu(const at::Tensor& host, const fc_planes& planes) {
  const int64_t height = host.size(1), width = host.size(2), plane = height * width;
  if (planes.format == FC_FORMAT_RGBA) {
    at::parallel_for(0, height, fewest_rows(width), [&](int64_t begin, int64_t end) {
      for (int64_t y = begin; y < end; ++y) {
        const float* r = host.const_data_ptr<float>() + y * width;
        simd::rgba_row({r, r + plane, r + 2 * plane}, width,
                       static_cast<uint8_t*>(planes.plane[0]) + y * planes.stride[0]);
      }
    });
    return;
  }
  at::parallel_for(0, (height + 1) / 2, fewest_rows(2 * width), [&](int64_t begin, int64_t end) {
    std::vector<float> sums(3 * width);
    const simd::RgbRow sum{sums.data(), sums.data() + width, sums.data() + 2 * width};
    for (int64_t i = begin; i < end; ++i) yuv(host, planes, i, sum, sums.data());
  });
}

}  // namespace flowcache
