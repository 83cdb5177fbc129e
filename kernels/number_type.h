// SPDX-License-Identifier: LGPL-2.1-or-later
// From LibTorch's types to those of the kernels in simd/products.h.
#pragma once

#include <c10/core/ScalarType.h>

#include "simd/bf16_products.h"
#include "simd/products.h"

namespace flowcache {

// type: fp32 or bf16. multiple: a number that all lengths and strides are multiples of. Instructions for bf16
// work on pairs, so they are used only if `multiple` is even.
inline simd::NumberType number_type(at::ScalarType type, int64_t multiple) {
  if (type == at::kFloat) return simd::NumberType::fp32;
  const simd::Bf16Products products = simd::bf16_products();
  if (multiple % 2 != 0 || products == simd::Bf16Products::widened) return simd::NumberType::bf16_widened;
  return products == simd::Bf16Products::pairs ? simd::NumberType::bf16_pairs : simd::NumberType::bf16_tiles;
}

}  // namespace flowcache
