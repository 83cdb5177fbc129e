// SPDX-License-Identifier: LGPL-2.1-or-later
// Softmax attention without a mask, in one pass over the keys (FlashAttention, arXiv 2205.14135).
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

// q [heads, rows, dim] over k and v [heads, keys, dim] -> [rows, heads * dim]; logits are scaled by 1 /
// sqrt(dim). One type for all: fp32 or bf16 (products of bf16, sums in fp32). Any strides, last dimension
// contiguous; keys >= 1. On a CPU, with dim a multiple of 16, it runs on the calling thread, so that callers
// can split the rows; elsewhere it is scaled_dot_product_attention().
at::Tensor flash_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

}  // namespace flowcache
