// SPDX-License-Identifier: LGPL-2.1-or-later
// What a format's rounding allows, whichever processor does the sums.
#pragma once

#include <ATen/ATen.h>

#include <cmath>

namespace flowcache::test {

// The relative error of a result that `roundings` roundings to `type` lead to, one after the other: each is
// off by half a unit of the last place at most, and they are independent, so that their squares add.
inline double rounding_error(at::ScalarType type, int roundings) {
  const int bits = type == at::kFloat ? 24 : type == at::kBFloat16 ? 8 : type == at::kHalf ? 11 : 4;  // e4m3
  return std::ldexp(std::sqrt(roundings), -bits);
}

// Roundings on the longest path through a transformer: each product's operands and its result, what goes into
// attention and what comes out of it, 21 in a block, and a few in embedding and head.
inline int roundings_of(int blocks) {
  return 21 * blocks + 6;
}

}  // namespace flowcache::test
