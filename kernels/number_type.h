// SPDX-License-Identifier: LGPL-2.1-or-later
// LibTorch's types as the kernels of simd/products.h know them.
#pragma once

#include <c10/core/ScalarType.h>

#include "cpu_isa.h"
#include "simd/products.h"

namespace flowcache {

// fp32 or bf16. `multiple`: what all lengths and strides are multiples of; pairs of bf16 want even ones.
inline simd::NumberType number_type(at::ScalarType type, int64_t multiple) {
  if (type == at::kFloat) return simd::NumberType::fp32;
  const bool pairs = allowed_isa() == CpuIsa::avx512bf16 && multiple % 2 == 0;
  return pairs ? simd::NumberType::bf16 : simd::NumberType::bf16_widened;
}

}  // namespace flowcache
