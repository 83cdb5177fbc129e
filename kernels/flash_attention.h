// SPDX-License-Identifier: LGPL-2.1-or-later
// Softmax attention without a mask. It needs one pass over the keys (FlashAttention, arXiv 2205.14135).
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

// q [heads, rows, dim], k and v [heads, keys, dim] -> [rows, heads * dim]. Logits are scaled by 1 /
// sqrt(dim). All have the same type: fp32, or bf16 with sums in fp32. Any strides, but the last dimension is
// contiguous; keys is at least 1. On a CPU, if dim is a multiple of 16, it runs on the calling thread alone,
// so that callers can split the rows. Elsewhere it is at::scaled_dot_product_attention().
at::Tensor flash_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

}  // namespace flowcache
