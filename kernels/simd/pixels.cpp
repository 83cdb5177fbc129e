// SPDX-License-Identifier: LGPL-2.1-or-later
#include "simd/pixels.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/pixels.cpp"
#include "simd/targets-inl.h"

HWY_BEFORE_NAMESPACE();
namespace flowcache::simd::HWY_NAMESPACE {
namespace {

#include "simd/bf16-inl.h"

HWY_INLINE float rectified(float x) {
  return x < 0 ? 0 : x;
}
// On the bits of bf16: everything from the smallest negative number to minus infinity becomes 0; NaN stays.
HWY_INLINE uint16_t rectified(uint16_t x) {
  return x > 0x8000 && x <= 0xff80 ? 0 : x;
}

template <class T>
HWY_INLINE void place(const T* from, int64_t step, int64_t pixels, int64_t channels, bool relu, T* to) {
  for (int64_t q = 0; q < pixels; ++q, from += step, to += 2 * channels)
    for (int64_t i = 0; i < channels; ++i) to[i] = relu ? rectified(from[i]) : from[i];
}
void place_fp32(const float* from, int64_t step, int64_t pixels, int64_t channels, bool relu, float* to) {
  place(from, step, pixels, channels, relu, to);
}
void place_bf16(const uint16_t* from, int64_t step, int64_t pixels, int64_t channels, bool relu,
                uint16_t* to) {
  place(from, step, pixels, channels, relu, to);
}

HWY_INLINE float as_float(float x) {
  return x;
}
HWY_INLINE float as_float(uint16_t x) {
  return widened(x);
}
template <class T>
HWY_INLINE void spread(const T* from, int64_t step, int64_t positions, int64_t patch, float* to) {
  for (int64_t q = 0; q < positions; ++q, from += step)
    for (int64_t j = 0; j < patch; ++j) *to++ = as_float(from[j]);
}
void spread_fp32(const float* from, int64_t step, int64_t positions, int64_t patch, float* to) {
  patch == 2 ? spread(from, step, positions, 2, to) : spread(from, step, positions, patch, to);
}
void spread_bf16(const uint16_t* from, int64_t step, int64_t positions, int64_t patch, float* to) {
  patch == 2 ? spread(from, step, positions, 2, to) : spread(from, step, positions, patch, to);
}

// BT.709: Y = Kr R + Kg G + Kb B; Cb = (B - Y) / (2 - 2 Kb); Cr = (R - Y) / (2 - 2 Kr). Limited range: 219
// and 224 steps.
constexpr double Kr = 0.2126, Kb = 0.0722, Kg = 1 - Kr - Kb;
constexpr double cb = 224 / (2 - 2 * Kb), cr = 224 / (2 - 2 * Kr);
constexpr float y_r = 219 * Kr, y_g = 219 * Kg, y_b = 219 * Kb;
constexpr float u_r = -cb * Kr, u_g = -cb * Kg, u_b = cb * (1 - Kb);
constexpr float v_r = cr * (1 - Kr), v_g = -cr * Kg, v_b = -cr * Kb;

// The first comparison is false for NaN, so NaN becomes 0.
HWY_INLINE float unit(float x) {
  return x > 0.f ? (x < 1.f ? x : 1.f) : 0.f;
}
HWY_INLINE uint8_t round_positive(float x) {
  return static_cast<uint8_t>(static_cast<int>(x + 0.5f));
}

void rgba(RgbRow in, int64_t width, uint8_t* out) {
  for (int64_t x = 0; x < width; ++x) {
    out[4 * x] = round_positive(255.f * unit(in.r[x]));
    out[4 * x + 1] = round_positive(255.f * unit(in.g[x]));
    out[4 * x + 2] = round_positive(255.f * unit(in.b[x]));
    out[4 * x + 3] = 255;
  }
}

void luma(RgbRow in, int64_t width, uint8_t* out) {
  for (int64_t x = 0; x < width; ++x)
    out[x] = round_positive(16.f + y_r * unit(in.r[x]) + y_g * unit(in.g[x]) + y_b * unit(in.b[x]));
}

void add_clamped(const float* top, const float* bottom, int64_t width, float* out) {
  for (int64_t x = 0; x < width; ++x) out[x] = unit(top[x]) + unit(bottom[x]);
}

// sum is of two rows, so the weights 1-2-1 give 8 times the value.
HWY_INLINE float across(const float* sum, int64_t i, int64_t width) {
  const int64_t middle = 2 * i, left = middle > 0 ? middle - 1 : 0,
                right = middle + 1 < width ? middle + 1 : middle;
  return 0.125f * (sum[left] + 2.f * sum[middle] + sum[right]);
}

void chroma(RgbRow sum, int64_t width, uint8_t* u, uint8_t* v, int step) {
  for (int64_t i = 0; i < (width + 1) / 2; ++i) {
    const float r = across(sum.r, i, width), g = across(sum.g, i, width), b = across(sum.b, i, width);
    u[i * step] = round_positive(128.f + u_r * r + u_g * g + u_b * b);
    v[i * step] = round_positive(128.f + v_r * r + v_g * g + v_b * b);
  }
}

void add_change(const float* a, const float* b, int64_t n, float* sum) {
  for (int64_t x = 0; x < n; ++x) sum[x] += std::abs(a[x] - b[x]);
}

void left(const float* rate, const float* share, float frame, int64_t n, float* out) {
  for (int64_t x = 0; x < n; ++x) {
    const float kept = 1.f - frame * rate[x];
    out[x] = (kept > 0.f ? kept : 0.f) * share[x];
  }
}

void mix(const float* before, const float* left, int64_t n, float* x) {
  for (int64_t i = 0; i < n; ++i) x[i] += left[i] * (before[i] - x[i]);
}

}  // namespace
}  // namespace flowcache::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace flowcache::simd {

HWY_EXPORT(place_fp32);
HWY_EXPORT(place_bf16);
HWY_EXPORT(spread_fp32);
HWY_EXPORT(spread_bf16);
HWY_EXPORT(rgba);
HWY_EXPORT(luma);
HWY_EXPORT(add_clamped);
HWY_EXPORT(chroma);
HWY_EXPORT(add_change);
HWY_EXPORT(left);
HWY_EXPORT(mix);

void place_row(const float* from, int64_t step, int64_t pixels, int64_t channels, bool relu, float* to) {
  FC_DISPATCH(place_fp32)(from, step, pixels, channels, relu, to);
}
void place_row(const uint16_t* from, int64_t step, int64_t pixels, int64_t channels, bool relu,
               uint16_t* to) {
  FC_DISPATCH(place_bf16)(from, step, pixels, channels, relu, to);
}
void spread_row(const float* from, int64_t step, int64_t positions, int64_t patch, float* to) {
  FC_DISPATCH(spread_fp32)(from, step, positions, patch, to);
}
void spread_row(const uint16_t* from, int64_t step, int64_t positions, int64_t patch, float* to) {
  FC_DISPATCH(spread_bf16)(from, step, positions, patch, to);
}
void rgba_row(RgbRow in, int64_t width, uint8_t* out) {
  FC_DISPATCH(rgba)(in, width, out);
}
void luma_row(RgbRow in, int64_t width, uint8_t* out) {
  FC_DISPATCH(luma)(in, width, out);
}
void add_clamped_rows(const float* top, const float* bottom, int64_t width, float* out) {
  FC_DISPATCH(add_clamped)(top, bottom, width, out);
}
void chroma_row(RgbRow sum, int64_t width, uint8_t* u, uint8_t* v, int step) {
  FC_DISPATCH(chroma)(sum, width, u, v, step);
}
void add_change_row(const float* a, const float* b, int64_t n, float* sum) {
  FC_DISPATCH(add_change)(a, b, n, sum);
}
void left_row(const float* rate, const float* share, float frame, int64_t n, float* out) {
  FC_DISPATCH(left)(rate, share, frame, n, out);
}
void mix_row(const float* before, const float* left, int64_t n, float* x) {
  FC_DISPATCH(mix)(before, left, n, x);
}

}  // namespace flowcache::simd
#endif
