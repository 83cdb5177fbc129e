// SPDX-License-Identifier: LGPL-2.1-or-later
// LayerNorm, followed by a multiplier and an offset, in one pass: both adaLN's "norm, scale, shift" and the
// usual LayerNorm with weight and bias.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

// Which row of a table [groups, dim] belongs to each row of a tensor: row r of the tensor uses group
// (first_row + r) / rows_per_group. With rows_per_group = INT64_MAX all rows use the first group.
struct RowGroups {
  int64_t first_row = 0;
  int64_t rows_per_group = INT64_MAX;
};

// Returns (x[r] - mean) / sqrt(variance + eps) * multiplier[g] + offset[g] for each row r and its group g, as
// [rows, dim] of type `out`. x [rows, dim] fp32; multiplier, offset [groups, dim] fp32, rows of any stride.
// For adaLN the multiplier is 1 + scale. On a CPU it runs on the calling thread alone, so that callers can
// split the rows; on an NVIDIA GPU it is one kernel (cuda_kernels.h).
at::Tensor norm_modulate(const at::Tensor& x, const at::Tensor& multiplier, const at::Tensor& offset,
                         RowGroups groups, double eps, at::ScalarType out);

// Adds y[r] * gate[g] to x[r] for each row r and its group g, in place. x [rows, dim] fp32; y [rows, dim]
// fp32 or bf16; gate [groups, dim] fp32, undefined: 1. Threads as above.
void gated_add(at::Tensor& x, const at::Tensor& y, const at::Tensor& gate, RowGroups groups);

}  // namespace flowcache
