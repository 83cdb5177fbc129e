// SPDX-License-Identifier: LGPL-2.1-or-later
// From LibTorch's types to those of the kernels in simd/products.h.
#pragma once

#include <c10/core/ScalarType.h>

#include "cpu_isa.h"
#include "simd/products.h"

namespace flowcache {

// type: fp32 or bf16. multiple: a number that all lengths and strides are multiples of. The processor's
// instruction for bf16 works on pairs, so it is used only if `multiple` is even.
inline simd::NumberType number_type(at::ScalarType type, int64_t multiple) {
  if (type == at::kFloat) return simd::NumberType::fp32;
  const bool pairs = allowed_isa() == CpuIsa::avx512bf16 && multiple % 2 == 0;
  return pairs ? simd::NumberType::bf16 : simd::NumberType::bf16_widened;
}

}  // namespace flowcache
