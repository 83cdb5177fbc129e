// SPDX-License-Identifier: LGPL-2.1-or-later
// LayerNorm followed by a multiplier and an offset: adaLN's "norm, scale, shift" and the affine LayerNorm in
// one pass.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

// Which rows of a per-group table [groups, dim] belong to the rows at hand: row r (counted from 0 here) uses
// group (first_row + r) / rows_per_group. One group for all: rows_per_group = INT64_MAX.
struct RowGroups {
  int64_t first_row = 0;
  int64_t rows_per_group = INT64_MAX;
};

// out[r] = (x[r] - mean) / sqrt(variance + eps) * multiplier[g] + offset[g], g the group of row r.
// x [rows, dim] fp32; multiplier, offset [groups, dim] fp32, rows of any stride; returns [rows, dim] of type
// `out`. adaLN: multiplier = 1 + scale. On the CPU runs on the calling thread, so that callers can split the
// rows.
at::Tensor norm_modulate(const at::Tensor& x, const at::Tensor& multiplier, const at::Tensor& offset,
                         RowGroups groups, double eps, at::ScalarType out);

// x[r] += y[r] * gate[g], in place. x [rows, dim] fp32, y [rows, dim] fp32 or bf16, gate [groups, dim] fp32;
// an undefined gate is all ones. Threads as above.
void gated_add(at::Tensor& x, const at::Tensor& y, const at::Tensor& gate, RowGroups groups);

}  // namespace flowcache
