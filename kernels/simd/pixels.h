// SPDX-License-Identifier: LGPL-2.1-or-later
// The work of place_pixels.h, color_convert.h and fade.h on one row of a picture, for every instruction set.
#pragma once

#include <cstdint>

namespace flowcache::simd {

// Copies `pixels` runs of `channels` values, which lie `step` values apart, to every second run of `to`.
// relu: negative values become 0; NaN stays. For fp32, and for the bits of bf16.
void place_row(const float* from, int64_t step, int64_t pixels, int64_t channels, bool relu, float* to);
void place_row(const uint16_t* from, int64_t step, int64_t pixels, int64_t channels, bool relu, uint16_t* to);

// Copies `patch` neighbouring values of each position to `to`, without gaps. Positions
// lie `step` values apart.
void spread_row(const float* from, int64_t step, int64_t positions, int64_t patch, float* to);
void spread_row(const uint16_t* from, int64_t step, int64_t positions, int64_t patch, float* to);

// A row of R'G'B' in 0..1, one plane for each. Other values are clamped, NaN becomes 0.
struct RgbRow {
  const float *r, *g, *b;
};
// Writes width * 4 bytes of RGBA: full range, alpha 255.
void rgba_row(RgbRow in, int64_t width, uint8_t* out);
// Writes `width` luma samples: BT.709, limited range.
void luma_row(RgbRow in, int64_t width, uint8_t* out);
// The sum of two clamped rows of one plane, which is twice the value halfway between them.
void add_clamped_rows(const float* top, const float* bottom, int64_t width, float* out);
// Writes (width + 1) / 2 chroma samples: BT.709, limited range, sited left. sum: from add_clamped_rows();
// weighted 1-2-1 across columns 2i - 1, 2i, 2i + 1, edges repeated. u and v advance by `step` bytes: 2 if
// they are interleaved.
void chroma_row(RgbRow sum, int64_t width, uint8_t* u, uint8_t* v, int step);

// sum += |a - b|
void add_change_row(const float* a, const float* b, int64_t n, float* sum);
// out = max(0, 1 - frame * rate) * share
void left_row(const float* rate, const float* share, float frame, int64_t n, float* out);
// x += left * (before - x)
void mix_row(const float* before, const float* left, int64_t n, float* x);

}  // namespace flowcache::simd
