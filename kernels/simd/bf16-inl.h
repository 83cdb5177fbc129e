// SPDX-License-Identifier: LGPL-2.1-or-later
// Between bf16 and float, one number at a time: plain code that the compiler turns into vectors. Included
// once for each instruction set, inside its namespace.
HWY_INLINE float widened(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float out;
  __builtin_memcpy(&out, &bits, sizeof out);
  return out;
}

// Rounds to nearest even; NaN stays NaN.
HWY_INLINE uint16_t narrowed(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return static_cast<uint16_t>(x == x ? rounded : 0x7fc0);
}
