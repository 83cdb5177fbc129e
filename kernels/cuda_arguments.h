// SPDX-License-Identifier: LGPL-2.1-or-later
// From tensors to the arguments of cuda_module.h. Apart from their callers, because tests give them tensors on the host.
// The tensors outlive the arguments, which hold their addresses.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "cuda_module.h"
#include "norm_modulate.h"

namespace flowcache::cuda_arguments {

// Of a table [groups, dim]: 0 if all rows use the first.
inline int64_t stride_of(const at::Tensor& table) {
  return !table.defined() || table.size(0) == 1 ? 0 : table.stride(0);
}
inline const float* floats_of(const at::Tensor& table) {
  return table.defined() ? table.const_data_ptr<float>() : nullptr;
}

inline fc_cuda_norm_modulate_args norm_modulate(const at::Tensor& x, const at::Tensor& multiplier,
                                                const at::Tensor& offset, RowGroups groups, double eps,
                                                const at::Tensor& out) {
  return {.rows = x.size(0),
          .dim = x.size(1),
          .x = x.const_data_ptr<float>(),
          .x_stride = x.stride(0),
          .multiplier = floats_of(multiplier),
          .multiplier_stride = stride_of(multiplier),
          .offset = floats_of(offset),
          .offset_stride = stride_of(offset),
          .groups = {groups.first_row, groups.rows_per_group},
          .eps = static_cast<float>(eps),
          .out = out.mutable_data_ptr(),
          .out_is_bf16 = out.scalar_type() == at::kBFloat16};
}

inline fc_cuda_gated_add_args gated_add(const at::Tensor& x, const at::Tensor& y, const at::Tensor& gate,
                                        RowGroups groups) {
  return {.rows = x.size(0),
          .dim = x.size(1),
          .x = x.mutable_data_ptr<float>(),
          .x_stride = x.stride(0),
          .y = y.const_data_ptr(),
          .y_stride = y.stride(0),
          .y_is_bf16 = y.scalar_type() == at::kBFloat16,
          .gate = floats_of(gate),
          .gate_stride = stride_of(gate),
          .groups = {groups.first_row, groups.rows_per_group}};
}

inline fc_cuda_rms_norm_rope_args rms_norm_rope(const at::Tensor& x, const at::Tensor& weight, double eps,
                                                const at::Tensor& cos, const at::Tensor& sin,
                                                int64_t first_row, const at::Tensor& out) {
  return {.rows = x.size(0),
          .heads = out.size(0),
          .head_dim = out.size(2),
          .x = x.const_data_ptr(),
          .x_stride = x.stride(0),
          .is_bf16 = x.scalar_type() == at::kBFloat16,
          .weight = floats_of(weight),
          .eps = static_cast<float>(eps),
          .cos = floats_of(cos),
          .sin = floats_of(sin),
          .cos_stride = cos.defined() ? cos.stride(0) : 0,
          .sin_stride = sin.defined() ? sin.stride(0) : 0,
          .first_row = first_row,
          .out = out.mutable_data_ptr(),
          .out_head_stride = out.stride(0),
          .out_row_stride = out.stride(1)};
}

// One tensor [layers, 1 or heads, kept] of int32 of all layers' slots, each [kept] for all heads or [heads, kept].
inline at::Tensor joined_slots(const std::vector<at::Tensor>& slots, int64_t heads,
                               const at::TensorOptions& options) {
  const bool for_each_head =
      std::any_of(slots.begin(), slots.end(), [](const at::Tensor& one) { return one.dim() == 2; });
  at::Tensor all =
      at::empty({static_cast<int64_t>(slots.size()), for_each_head ? heads : 1, slots.front().size(-1)},
                options.dtype(at::kInt));
  for (size_t layer = 0; layer < slots.size(); ++layer) all[static_cast<int64_t>(layer)].copy_(slots[layer]);
  return all;
}

// buffer [layers, planes, heads, capacity, width], each head's rows contiguous; slots as joined_slots() makes them.
inline fc_cuda_move_rows_args move_rows(const at::Tensor& buffer, const at::Tensor& slots, int64_t used,
                                        int64_t tail) {
  const int64_t element = buffer.element_size();
  return {.base = buffer.mutable_data_ptr(),
          .layers = buffer.size(0),
          .planes = buffer.size(1),
          .heads = buffer.size(2),
          .layer_bytes = buffer.stride(0) * element,
          .plane_bytes = buffer.stride(1) * element,
          .head_bytes = buffer.stride(2) * element,
          .row_bytes = buffer.size(4) * element,
          .slots = slots.const_data_ptr<int32_t>(),
          .slot_heads = slots.size(1),
          .kept = slots.size(2),
          .used = used,
          .tail = tail};
}

// cur and prev contiguous; sums [2 + 2 * FC_CUDA_L1_BLOCKS] double.
inline fc_cuda_relative_l1_args relative_l1(const at::Tensor& cur, const at::Tensor& prev,
                                            const at::Tensor& sums) {
  return {.n = cur.numel(),
          .cur = cur.const_data_ptr(),
          .prev = prev.const_data_ptr(),
          .is_bf16 = cur.scalar_type() == at::kBFloat16,
          .sums = sums.mutable_data_ptr<double>()};
}

}  // namespace flowcache::cuda_arguments
