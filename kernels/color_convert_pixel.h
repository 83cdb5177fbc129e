// SPDX-License-Identifier: LGPL-2.1-or-later
// color_convert.h for one sample at a time, for devices where each sample has a thread. The host can compile
// the same lines, so tests need no device.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define FC_DEVICE __host__ __device__ inline
#else
#define FC_DEVICE inline
#endif

namespace flowcache {

// A frame [3, height, width] of R'G'B' in 0..1, contiguous, in the memory of the device that computes.
struct RgbFrame {
  const float* data;
  int width, height;
};
struct Rgb {
  float r, g, b;
};
struct Chroma {
  uint8_t u, v;
};

FC_DEVICE float clamp_unit(float x) {
  return x > 0.f ? (x < 1.f ? x : 1.f) : 0.f;  // the first test is false for NaN
}
FC_DEVICE uint8_t to_byte(float x) {
  return static_cast<uint8_t>(static_cast<int>(x + 0.5f));
}
FC_DEVICE Rgb pixel_at(const RgbFrame& frame, int x, int y) {
  const int64_t plane = static_cast<int64_t>(frame.width) * frame.height;
  const float* at = frame.data + static_cast<int64_t>(y) * frame.width + x;
  return {clamp_unit(at[0]), clamp_unit(at[plane]), clamp_unit(at[2 * plane])};
}

// Luma of pixel (x, y): BT.709, limited range.
FC_DEVICE uint8_t luma_at(const RgbFrame& frame, int x, int y) {
  const Rgb p = pixel_at(frame, x, y);
  return to_byte(16.f + 219.f * 0.2126f * p.r + 219.f * 0.7152f * p.g + 219.f * 0.0722f * p.b);
}

// Chroma sample (x, y), BT.709, limited range, sited left: the mean of rows 2y and 2y+1, weighted 1-2-1
// across columns 2x-1, 2x, 2x+1; edges are repeated.
FC_DEVICE Chroma chroma_at(const RgbFrame& frame, int x, int y) {
  const int middle = 2 * x, left = middle > 0 ? middle - 1 : 0,
            right = middle + 1 < frame.width ? middle + 1 : middle;
  const int top = 2 * y, bottom = top + 1 < frame.height ? top + 1 : top;
  Rgb sum{0.f, 0.f, 0.f};
  const int columns[4] = {left, middle, middle, right};
  for (const int column : columns) {
    const Rgb a = pixel_at(frame, column, top), b = pixel_at(frame, column, bottom);
    sum = {sum.r + a.r + b.r, sum.g + a.g + b.g, sum.b + a.b + b.b};
  }
  const float r = 0.125f * sum.r, g = 0.125f * sum.g, b = 0.125f * sum.b;
  const float u = 224.f / (2.f - 2.f * 0.0722f), v = 224.f / (2.f - 2.f * 0.2126f);
  return {to_byte(128.f - u * 0.2126f * r - u * 0.7152f * g + u * (1.f - 0.0722f) * b),
          to_byte(128.f + v * (1.f - 0.2126f) * r - v * 0.7152f * g - v * 0.0722f * b)};
}

}  // namespace flowcache
