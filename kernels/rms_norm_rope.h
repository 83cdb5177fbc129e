// SPDX-License-Identifier: LGPL-2.1-or-later
// The norm of queries and keys, followed by rotary positions (RoPE, arXiv 2104.09864) on interleaved pairs.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

// Writes rows first_row .. first_row + rows - 1 of `out`:
//   1. y = x / sqrt(mean(x^2) + eps) * weight, over the whole row, all heads together
//   2. each pair (y[2i], y[2i+1]) of a head becomes (y[2i] c - y[2i+1] s, y[2i] s + y[2i+1] c)
// x         [rows, heads * head_dim] fp32 or bf16, rows of any stride
// weight    [heads * head_dim] fp32; undefined: no step 1
// cos, sin  [tokens, head_dim / 2] fp32, indexed by the row of `out`; undefined: no step 2
// out       [heads, tokens, head_dim] of x's type, last dimension contiguous, such as a chunk's slots in the KV buffer
// On a CPU it runs on the calling thread alone, on an NVIDIA GPU it is one kernel (cuda_kernels.h).
void rms_norm_rope(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& cos,
                   const at::Tensor& sin, int64_t first_row, at::Tensor& out);

}  // namespace flowcache
