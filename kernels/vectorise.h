// SPDX-License-Identifier: LGPL-2.1-or-later
// How the CPU halves of the kernels get wide instructions without compiling the library for one processor.
#pragma once

#include <cstdint>
#include <cstring>

// Put before a function that works on Floats or has plain loops: it is compiled for AVX-512, for AVX2 with
// FMA and for the baseline, and the loader picks one. Functions that it calls must be inlined into it
// (FC_INLINE), or they stay baseline.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FC_VECTORISED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FC_VECTORISED
#endif
#define FC_INLINE [[gnu::always_inline]] inline

namespace flowcache {

constexpr int64_t lanes = 16;
// 16 floats; the compiler splits them where registers are narrower. Sums over lanes have one order
// everywhere.
using Floats = float __attribute__((vector_size(lanes * sizeof(float))));

FC_INLINE void load(const float* from, Floats& to) {
  std::memcpy(&to, from, sizeof to);
}
FC_INLINE void store(const Floats& from, float* to) {
  std::memcpy(to, &from, sizeof from);
}

FC_INLINE float sum_of(const Floats& x) {
  float sum = 0;
  for (int i = 0; i < lanes; ++i) sum += x[i];
  return sum;
}

// bf16 is the upper half of a float.
FC_INLINE float widen(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}

// Rounds to nearest even; NaN stays NaN.
FC_INLINE uint16_t narrow(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return static_cast<uint16_t>(x == x ? rounded : 0x7fc0);
}

}  // namespace flowcache
