// SPDX-License-Identifier: LGPL-2.1-or-later
#include <ATen/Parallel.h>

#include <vector>

#include "color_convert.h"
#include "vectorise.h"

namespace flowcache {
namespace {

// BT.709: Y = Kr R + Kg G + Kb B; Cb = (B - Y) / (2 - 2 Kb); Cr = (R - Y) / (2 - 2 Kr). Limited range: 219
// and 224 steps.
constexpr double Kr = 0.2126, Kb = 0.0722, Kg = 1 - Kr - Kb;
constexpr double cb = 224 / (2 - 2 * Kb), cr = 224 / (2 - 2 * Kr);
constexpr float y_r = 219 * Kr, y_g = 219 * Kg, y_b = 219 * Kb;
constexpr float u_r = -cb * Kr, u_g = -cb * Kg, u_b = cb * (1 - Kb);
constexpr float v_r = cr * (1 - Kr), v_g = -cr * Kg, v_b = -cr * Kb;

struct Rows {
  const float *r, *g, *b;
};

FC_INLINE float unit(float x) {
  return x > 0.f ? (x < 1.f ? x : 1.f) : 0.f;
}  // the first test is false for NaN
FC_INLINE uint8_t round_positive(float x) {
  return static_cast<uint8_t>(static_cast<int>(x + 0.5f));
}

FC_VECTORISED void rgba_row(Rows in, int64_t width, uint8_t* out) {
  for (int64_t x = 0; x < width; ++x) {
    out[4 * x] = round_positive(255.f * unit(in.r[x]));
    out[4 * x + 1] = round_positive(255.f * unit(in.g[x]));
    out[4 * x + 2] = round_positive(255.f * unit(in.b[x]));
    out[4 * x + 3] = 255;
  }
}

FC_VECTORISED void luma_row(Rows in, int64_t width, uint8_t* out) {
  for (int64_t x = 0; x < width; ++x)
    out[x] = round_positive(16.f + y_r * unit(in.r[x]) + y_g * unit(in.g[x]) + y_b * unit(in.b[x]));
}

// Sum of two rows: twice the value halfway between them.
FC_VECTORISED void add_rows(const float* top, const float* bottom, int64_t width, float* out) {
  for (int64_t x = 0; x < width; ++x) out[x] = unit(top[x]) + unit(bottom[x]);
}

// `sum` is of two rows, so 1-2-1 over columns 2i-1, 2i, 2i+1 leaves 8 times the value.
FC_INLINE float across(const float* sum, int64_t i, int64_t width) {
  const int64_t middle = 2 * i, left = middle > 0 ? middle - 1 : 0,
                right = middle + 1 < width ? middle + 1 : middle;
  return 0.125f * (sum[left] + 2.f * sum[middle] + sum[right]);
}

// u and v advance by `step` bytes: 2 where they interleave.
FC_VECTORISED void chroma_row(Rows sum, int64_t width, uint8_t* u, uint8_t* v, int step) {
  for (int64_t i = 0; i < (width + 1) / 2; ++i) {
    const float r = across(sum.r, i, width), g = across(sum.g, i, width), b = across(sum.b, i, width);
    u[i * step] = round_positive(128.f + u_r * r + u_g * g + u_b * b);
    v[i * step] = round_positive(128.f + v_r * r + v_g * g + v_b * b);
  }
}

void yuv(const at::Tensor& frame, const fc_planes& planes, int64_t row_pair, Rows sum, float* sums) {
  const int64_t height = frame.size(1), width = frame.size(2), plane = height * width;
  const float* data = frame.const_data_ptr<float>();
  const int64_t top = 2 * row_pair, bottom = std::min(top + 1, height - 1);
  auto out = [&](int i, int64_t y) { return static_cast<uint8_t*>(planes.plane[i]) + y * planes.stride[i]; };
  for (int64_t y = top; y <= bottom; ++y) {
    const float* r = data + y * width;
    luma_row({r, r + plane, r + 2 * plane}, width, out(0, y));
  }
  for (int c = 0; c < 3; ++c)
    add_rows(data + c * plane + top * width, data + c * plane + bottom * width, width, sums + c * width);
  if (planes.format == FC_FORMAT_NV12)
    chroma_row(sum, width, out(1, row_pair), out(1, row_pair) + 1, 2);
  else
    chroma_row(sum, width, out(1, row_pair), out(2, row_pair), 1);
}

// Rows below which a second thread is not worth it: a small frame takes less than its threads' start, and who
// converts does so beside the network, whose threads another team would hold up.
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
        rgba_row({r, r + plane, r + 2 * plane}, width,
                 static_cast<uint8_t*>(planes.plane[0]) + y * planes.stride[0]);
      }
    });
    return;
  }
  at::parallel_for(0, (height + 1) / 2, fewest_rows(2 * width), [&](int64_t begin, int64_t end) {
    std::vector<float> sums(3 * width);
    const Rows sum{sums.data(), sums.data() + width, sums.data() + 2 * width};
    for (int64_t i = begin; i < end; ++i) yuv(host, planes, i, sum, sums.data());
  });
}

}  // namespace flowcache
