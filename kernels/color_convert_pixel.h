// SPDX-License-Identifier: LGPL-2.1-or-later
// color_convert.h for one sample at a time, for devices where each sample has a thread. The host can compile
// the same lines, so tests need no device.
#pragma once

#include <cstddef>
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
// Planes that are read, BT.709, limited range: chroma samples are `step` bytes apart.
struct YuvFrame {
  const uint8_t *luma, *u, *v;
  uint32_t luma_stride, u_stride, v_stride;
  int step, width, height;
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

// Chroma between its samples, less 128, for pixel (x, y): samples lie on even columns, a quarter of their distance above or
// below the row. Beyond the last ones the nearest holds.
FC_DEVICE float chroma_between(const uint8_t* plane, uint32_t stride, const YuvFrame& frame, int x, int y) {
  const int rows = (frame.height + 1) / 2, columns = (frame.width + 1) / 2;
  const int near = y / 2, beside = y % 2 == 0 ? near - 1 : near + 1;
  const int far = beside < 0 ? 0 : beside < rows ? beside : rows - 1;
  const int left = x / 2, right = x % 2 == 0 || left + 1 == columns ? left : left + 1;
  const uint8_t* a = plane + static_cast<size_t>(near) * stride;
  const uint8_t* b = plane + static_cast<size_t>(far) * stride;
  const int l = left * frame.step, r = right * frame.step;
  return 0.5f * (0.75f * static_cast<float>(a[l]) + 0.25f * static_cast<float>(b[l]) - 128.f +
                 0.75f * static_cast<float>(a[r]) + 0.25f * static_cast<float>(b[r]) - 128.f);
}

// R'G'B' of pixel (x, y) in 0..1.
FC_DEVICE Rgb rgb_at(const YuvFrame& frame, int x, int y) {
  const float red = 0.2126f, blue = 0.0722f, green = 1.f - red - blue;
  const float l =
      (static_cast<float>(frame.luma[static_cast<size_t>(y) * frame.luma_stride + static_cast<size_t>(x)]) -
       16.f) /
      219.f;
  const float r = l + 2.f * (1.f - red) / 224.f * chroma_between(frame.v, frame.v_stride, frame, x, y);
  const float b = l + 2.f * (1.f - blue) / 224.f * chroma_between(frame.u, frame.u_stride, frame, x, y);
  return {clamp_unit(r), clamp_unit((l - red * r - blue * b) / green), clamp_unit(b)};
}

}  // namespace flowcache
