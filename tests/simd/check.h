// SPDX-License-Identifier: LGPL-2.1-or-later
// Every row kernel and attention against a plain formula in double, in every instruction set of this machine,
// and timed by the same calls.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "cpu_isa.h"

namespace check {

inline bool has_tiles() {
  return flowcache::allowed_isa() == flowcache::CpuIsa::amx;
}
inline bool has_pairs() {
  return has_tiles() || flowcache::allowed_isa() == flowcache::CpuIsa::avx512bf16;
}

// One call of a kernel on one input.
struct Case {
  std::string name;
  std::function<void()> prepare = {};  // after the target was chosen; may be empty
  std::function<void()> run;
  // Largest error of what run() left, over what is allowed: 1 and less is right.
  std::function<double()> error;
  double flops = 0;  // of one run; 0: timed per value
  double values = 0;
  bool widest = false;  // by instructions for bf16, which are the widest target's
};

// Numbers around zero, the same at every call.
inline std::vector<float> numbers(int64_t n, float scale = 1, unsigned seed = 1) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> draw(0, scale);
  std::vector<float> out(static_cast<size_t>(n));
  for (float& x : out) x = draw(engine);
  return out;
}

inline float from_bf16(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float out;
  __builtin_memcpy(&out, &bits, sizeof out);
  return out;
}
// Nearest, ties to even; by arithmetic, not by the kernels' trick with bits.
inline uint16_t to_bf16(float x) {
  if (std::isnan(x)) return 0x7fc0;
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  if (std::isinf(x)) return static_cast<uint16_t>(bits >> 16);
  const auto down = static_cast<uint16_t>(bits >> 16);
  const auto up = static_cast<uint16_t>(down + 1);
  const double below = std::fabs(static_cast<double>(x) - from_bf16(down)),
               above = std::fabs(static_cast<double>(from_bf16(up)) - x);
  if (below != above) return below < above ? down : up;
  return down % 2 == 0 ? down : up;
}
inline std::vector<uint16_t> to_bf16(const std::vector<float>& x) {
  std::vector<uint16_t> out;
  for (const float value : x) out.push_back(to_bf16(value));
  return out;
}
inline std::vector<float> from_bf16(const std::vector<uint16_t>& x) {
  std::vector<float> out;
  for (const uint16_t value : x) out.push_back(from_bf16(value));
  return out;
}

// Largest difference over what is allowed, which is `absolute` + `relative` of the wanted value; NaN must
// meet NaN.
template <class Got>
double worst(const std::vector<Got>& got, const std::vector<double>& want, double absolute, double relative) {
  double most = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double value = static_cast<double>(got[i]);
    if (std::isnan(value) != std::isnan(want[i])) return HUGE_VAL;
    if (std::isnan(value) || value == want[i]) continue;
    most = std::fmax(most, std::fabs(value - want[i]) / (absolute + relative * std::fabs(want[i])));
  }
  return most;
}

// The cases of each kind.
void add_attention(std::vector<Case>& cases);
void add_products(std::vector<Case>& cases);
void add_rows(std::vector<Case>& cases);
void add_pixels(std::vector<Case>& cases);

}  // namespace check
