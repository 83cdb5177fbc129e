// SPDX-License-Identifier: LGPL-2.1-or-later
#include "simd/rows.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/rows.cpp"
#include "simd/targets-inl.h"

HWY_BEFORE_NAMESPACE();
namespace flowcache::simd::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
#include "simd/bf16-inl.h"

using Tag = hn::ScalableTag<float>;
using V = hn::Vec<Tag>;

// The sum of f over a row: f(tag, vector at i), first for whole vectors, then for single numbers.
template <class F>
HWY_INLINE float sum_over(const float* x, int64_t n, const F& f) {
  const Tag d;
  const hn::CappedTag<float, 1> one;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V first = hn::Zero(d), second = hn::Zero(d);  // two independent sums, which the processor overlaps
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    first = hn::Add(first, f(d, hn::LoadU(d, x + i)));
    second = hn::Add(second, f(d, hn::LoadU(d, x + i + lanes)));
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(first, second)));
  for (; i < n; ++i) sum += hn::GetLane(f(one, hn::LoadU(one, x + i)));
  return sum;
}

void layer_norm(const float* x, const float* multiplier, const float* offset, int64_t n, float eps,
                float* out) {
  const Tag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const float mean = sum_over(x, n, [](auto, auto v) HWY_ATTR { return v; }) / static_cast<float>(n);
  const float square = sum_over(x, n, [mean](auto tag, auto v) HWY_ATTR {
    const auto apart = hn::Sub(v, hn::Set(tag, mean));
    return hn::Mul(apart, apart);
  });
  const float rate = 1.f / std::sqrt(square / static_cast<float>(n) + eps);
  const V means = hn::Set(d, mean), rates = hn::Set(d, rate);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const V value = hn::Mul(hn::Sub(hn::LoadU(d, x + i), means), rates);
    hn::StoreU(hn::MulAdd(value, hn::LoadU(d, multiplier + i), hn::LoadU(d, offset + i)), d, out + i);
  }
  for (; i < n; ++i) out[i] = (x[i] - mean) * rate * multiplier[i] + offset[i];
}

void rms_norm(const float* x, const float* weight, int64_t n, float eps, float* out) {
  const Tag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const float square = sum_over(x, n, [](auto, auto v) HWY_ATTR { return hn::Mul(v, v); });
  const float rate = 1.f / std::sqrt(square / static_cast<float>(n) + eps);
  const V rates = hn::Set(d, rate);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(d, x + i), rates), hn::LoadU(d, weight + i)), d, out + i);
  for (; i < n; ++i) out[i] = x[i] * rate * weight[i];
}

void rotate(const float* x, const float* cos, const float* sin, int64_t pairs, float* out) {
  for (int64_t i = 0; i < pairs; ++i) {
    const float even = x[2 * i], odd = x[2 * i + 1];
    out[2 * i] = even * cos[i] - odd * sin[i];
    out[2 * i + 1] = even * sin[i] + odd * cos[i];
  }
}

void add(float* x, const float* y, const float* gate, int64_t n) {
  if (gate)
    for (int64_t i = 0; i < n; ++i) x[i] += y[i] * gate[i];
  else
    for (int64_t i = 0; i < n; ++i) x[i] += y[i];
}

void add_bf16(float* x, const uint16_t* y, const float* gate, int64_t n) {
  if (gate)
    for (int64_t i = 0; i < n; ++i) x[i] += widened(y[i]) * gate[i];
  else
    for (int64_t i = 0; i < n; ++i) x[i] += widened(y[i]);
}

void widen(const uint16_t* x, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = widened(x[i]);
}

void narrow(const float* x, int64_t n, uint16_t* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = narrowed(x[i]);
}

// Eight sums side by side on every processor, so that the result is the same on all.
Distance measure(const float* cur, const float* prev, int64_t n) {
  constexpr int64_t sums = 8;
  using Doubles = double __attribute__((vector_size(sums * sizeof(double))));
  using Floats = float __attribute__((vector_size(sums * sizeof(float))));
  Doubles difference = {}, magnitude = {};
  int64_t i = 0;
  for (; i + sums <= n; i += sums) {
    Floats a, b;
    __builtin_memcpy(&a, cur + i, sizeof a);
    __builtin_memcpy(&b, prev + i, sizeof b);
    const Floats apart = a - b;
    difference += __builtin_convertvector(apart < 0 ? -apart : apart, Doubles);
    magnitude += __builtin_convertvector(b < 0 ? -b : b, Doubles);
  }
  Distance total;
  for (int lane = 0; lane < sums; ++lane) {
    total.difference += difference[lane];
    total.magnitude += magnitude[lane];
  }
  for (; i < n; ++i) {
    total.difference += std::fabs(cur[i] - prev[i]);
    total.magnitude += std::fabs(prev[i]);
  }
  return total;
}

}  // namespace
}  // namespace flowcache::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace flowcache::simd {

HWY_EXPORT(layer_norm);
HWY_EXPORT(rms_norm);
HWY_EXPORT(rotate);
HWY_EXPORT(add);
HWY_EXPORT(add_bf16);
HWY_EXPORT(widen);
HWY_EXPORT(narrow);
HWY_EXPORT(measure);

void normalise_row(const float* x, const float* multiplier, const float* offset, int64_t n, float eps,
                   float* out) {
  FC_DISPATCH(layer_norm)(x, multiplier, offset, n, eps, out);
}
void rms_normalise_row(const float* x, const float* weight, int64_t n, float eps, float* out) {
  FC_DISPATCH(rms_norm)(x, weight, n, eps, out);
}
void rotate_row(const float* x, const float* cos, const float* sin, int64_t pairs, float* out) {
  FC_DISPATCH(rotate)(x, cos, sin, pairs, out);
}
void add_row(float* x, const float* y, const float* gate, int64_t n) {
  FC_DISPATCH(add)(x, y, gate, n);
}
void add_bf16_row(float* x, const uint16_t* y, const float* gate, int64_t n) {
  FC_DISPATCH(add_bf16)(x, y, gate, n);
}
void widen_row(const uint16_t* x, int64_t n, float* out) {
  FC_DISPATCH(widen)(x, n, out);
}
void narrow_row(const float* x, int64_t n, uint16_t* out) {
  FC_DISPATCH(narrow)(x, n, out);
}
Distance distance(const float* cur, const float* prev, int64_t n) {
  return FC_DISPATCH(measure)(cur, prev, n);
}

}  // namespace flowcache::simd
#endif
