// SPDX-License-Identifier: LGPL-2.1-or-later
// From LibTorch's types to those of the kernels in simd/number_type.h.
#pragma once

#include <c10/core/ScalarType.h>

#include "simd/number_type.h"

namespace flowcache {

// type: fp32 or bf16. multiple: a number that all lengths and strides are multiples of. Instructions for bf16
// work on pairs, so they are used only if `multiple` is even.
inline simd::NumberType number_type(at::ScalarType type, int64_t multiple) {
  if (type == at::kFloat) return simd::NumberType::fp32;
  return multiple % 2 == 0 ? simd::fastest_bf16() : simd::NumberType::bf16_widened;
}

}  // namespace flowcache
