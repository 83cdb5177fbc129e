// SPDX-License-Identifier: LGPL-2.1-or-later
// What the kernels do with one row of a matrix, for every instruction set. fp32 unless it says bf16, which is
// the upper half of a float; to bf16 is rounded to nearest even, and NaN stays NaN. No alignment is asked
// for. Rows that are read and written are the same row or do not overlap.
#pragma once

#include <cstdint>

namespace flowcache::simd {

// out = (x - mean) / sqrt(variance + eps) * multiplier + offset
void normalise_row(const float* x, const float* multiplier, const float* offset, int64_t n, float eps,
                   float* out);
// out = x / sqrt(mean(x^2) + eps) * weight
void rms_normalise_row(const float* x, const float* weight, int64_t n, float eps, float* out);
// Pairs (x[2i], x[2i+1]) turned: (even c - odd s, even s + odd c), with cos and sin [pairs].
void rotate_row(const float* x, const float* cos, const float* sin, int64_t pairs, float* out);

// x += y * gate; no gate (null): x += y
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
