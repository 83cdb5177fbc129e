// SPDX-License-Identifier: LGPL-2.1-or-later
// The error that a format's rounding allows, whichever processor computes the sums.
#pragma once

#include <ATen/ATen.h>

#include <cmath>

namespace flowcache::test {

// The relative error of a result after `roundings` roundings to `type`. Each is off by at most half a unit of
// the last place, and they are independent, so their squares add up.
inline double rounding_error(at::ScalarType type, int roundings) {
  const int bits = type == at::kFloat ? 24 : type == at::kBFloat16 ? 8 : type == at::kHalf ? 11 : 4;  // e4m3
  return std::ldexp(std::sqrt(roundings), -bits);
}

// The number of roundings on the longest path through a transformer: operands and result of each product,
// input and output of attention, 21 in a block, and a few in embedding and head.
inline int roundings_of(int blocks) {
  return 21 * blocks + 6;
}

}  // namespace flowcache::test
