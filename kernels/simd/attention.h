// SPDX-License-Identifier: LGPL-2.1-or-later
// Softmax attention of one head on raw memory (flash_attention.h), for every instruction set.
#pragma once

#include <cstdint>

#include "simd/number_type.h"

namespace flowcache::simd {

// Strides count numbers of the type. dim is a multiple of 16; rows and keys are at least 1. For bf16_pairs
// and bf16_tiles all strides but that of `out` are even; tiles whose dim is no multiple of 32 are widened.
struct AttentionHead {
  const void *q, *k, *v;  // [rows, dim], [keys, dim], [keys, dim]
  void* out;              // [rows, dim]
  int64_t q_stride, k_stride, v_stride, out_stride;
  int64_t rows, keys, dim;
};

// How many floats of scratch attention_head() needs.
int64_t attention_scratch(int64_t rows, int64_t dim);

// out = softmax(q k^T / sqrt(dim)) v, on the calling thread. scratch: attention_scratch() floats, at a
// multiple of 256 bytes.
void attention_head(const AttentionHead& head, NumberType type, float* scratch);

}  // namespace flowcache::simd
