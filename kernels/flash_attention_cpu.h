// SPDX-License-Identifier: LGPL-2.1-or-later
// The AVX-512 half of flash_attention(): one head on raw memory.
#pragma once

#include <cstdint>

namespace flowcache {

// Strides count elements: of fp32, or of bf16. dim is a multiple of 16; for bf16 all strides but out's are
// even.
struct AttentionHead {
  const void *q, *k, *v;
  void* out;
  int64_t q_stride, k_stride, v_stride, out_stride;
  int64_t rows, keys, dim;
};

// False: this processor or build lacks the instructions.
bool has_attention_avx512(bool bf16);
void attention_head_avx512(const AttentionHead& head, bool bf16);

}  // namespace flowcache
