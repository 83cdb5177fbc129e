// SPDX-License-Identifier: LGPL-2.1-or-later
// What place_pixels.h and color_convert.h do with one row of a picture, for every instruction set.
#pragma once

#include <cstdint>

namespace flowcache::simd {

// `pixels` runs of `channels` values that lie `step` apart go to every second run of `to`. relu: negative
// values become 0, NaN stays. fp32, or bf16 by its bits.
void place_row(const float* from, int64_t step, int64_t pixels, int64_t channels, bool relu, float* to);
void place_row(const uint16_t* from, int64_t step, int64_t pixels, int64_t channels, bool relu, uint16_t* to);

// `patch` neighbouring values of every position, `step` values apart, one after the other.
void spread_row(const float* from, int64_t step, int64_t positions, int64_t patch, float* to);
void spread_row(const uint16_t* from, int64_t step, int64_t positions, int64_t patch, float* to);

// A row of R'G'B' in 0..1 (clamped; NaN is 0), a plane each.
struct RgbRow {
  const float *r, *g, *b;
};
// 255 levels, full range, alpha 255; width * 4 bytes.
void rgba_row(RgbRow in, int64_t width, uint8_t* out);
// Luma of BT.709, limited range.
void luma_row(RgbRow in, int64_t width, uint8_t* out);
// Clamped sum of two rows of one plane: twice the value halfway between them.
void add_clamped_rows(const float* top, const float* bottom, int64_t width, float* out);
// Chroma of BT.709, limited range, sited left: 1-2-1 across columns 2i - 1, 2i, 2i + 1 of such sums, edges
// repeated; (width + 1) / 2 samples. u and v advance by `step` bytes: 2 where they interleave.
void chroma_row(RgbRow sum, int64_t width, uint8_t* u, uint8_t* v, int step);

}  // namespace flowcache::simd
