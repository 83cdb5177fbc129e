// SPDX-License-Identifier: LGPL-2.1-or-later
// The work of the kernels on one row of a matrix, for every instruction set. Numbers are fp32 unless a name
// says bf16, which is the upper half of a float. Rounding to bf16 is to nearest even, and NaN stays NaN. Rows
// need no alignment. A row that is written is either the row that is read, or does not overlap it.
#pragma once

#include <cstdint>

namespace flowcache::simd {

// out = (x - mean) / sqrt(variance + eps) * multiplier + offset
void normalise_row(const float* x, const float* multiplier, const float* offset, int64_t n, float eps,
                   float* out);
// out = x / sqrt(mean(x^2) + eps) * weight
void rms_normalise_row(const float* x, const float* weight, int64_t n, float eps, float* out);
// Turns each pair (x[2i], x[2i+1]) = (a, b) to (a c - b s, a s + b c), with c = cos[i] and s = sin[i].
void rotate_row(const float* x, const float* cos, const float* sin, int64_t pairs, float* out);

// x += y * gate; with gate null: x += y
void add_row(float* x, const float* y, const float* gate, int64_t n);
void add_bf16_row(float* x, const uint16_t* y, const float* gate, int64_t n);

void widen_row(const uint16_t* x, int64_t n, float* out);
void narrow_row(const float* x, int64_t n, uint16_t* out);

// Sums of |cur - prev| and |prev| in double. Their order is the same for every instruction set.
struct Distance {
  double difference = 0, magnitude = 0;
};
Distance distance(const float* cur, const float* prev, int64_t n);

}  // namespace flowcache::simd
