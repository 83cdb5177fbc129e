// SPDX-License-Identifier: LGPL-2.1-or-later
#include <vector>

#include "cuda_arguments.h"
#include "cuda_kernels.h"
#include "norm_modulate.h"
#include "simd/rows.h"

namespace flowcache {
namespace {

// [groups, dim] -> [rows, dim]: each row's group. For types and devices without a kernel of their own.
at::Tensor spread(const at::Tensor& table, RowGroups groups, int64_t rows) {
  if (table.size(0) == 1) return table;
  const at::Tensor row =
      at::arange(groups.first_row, groups.first_row + rows, table.options().dtype(at::kLong));
  return table.index_select(0, row.div(groups.rows_per_group, "floor"));
}

// Whether there is a kernel for tokens of this type with these tables.
bool suits_kernel(const at::Tensor& x, std::initializer_list<const at::Tensor*> tables) {
  if (x.scalar_type() != at::kFloat || x.stride(-1) != 1) return false;
  for (const at::Tensor* table : tables)
    if (table->defined() && (table->scalar_type() != at::kFloat || table->stride(-1) != 1)) return false;
  return true;
}

// Return false if there is no GPU with kernels.
bool norm_on_gpu(const at::Tensor& x, const at::Tensor& multiplier, const at::Tensor& offset,
                 RowGroups groups, double eps, at::Tensor& out) {
  const CudaCall cuda(x);
  if (!cuda) return false;
  const auto args = cuda_arguments::norm_modulate(x, multiplier, offset, groups, eps, out);
  return cuda.ran(cuda->norm_modulate(&args, cuda.stream()));
}

bool add_on_gpu(at::Tensor& x, const at::Tensor& y, const at::Tensor& gate, RowGroups groups) {
  const CudaCall cuda(x);
  if (!cuda) return false;
  const auto args = cuda_arguments::gated_add(x, y, gate, groups);
  return cuda.ran(cuda->gated_add(&args, cuda.stream()));
}

struct RowOf {
  const float* data;
  int64_t stride, groups;
  RowGroups map;
  RowOf(const at::Tensor& table, RowGroups map)
      : data(table.const_data_ptr<float>()), stride(table.stride(0)), groups(table.size(0)), map(map) {}
  const float* operator()(int64_t row) const {
    return groups == 1 ? data : data + (map.first_row + row) / map.rows_per_group * stride;
  }
};

}  // namespace

at::Tensor norm_modulate(const at::Tensor& x, const at::Tensor& multiplier, const at::Tensor& offset,
                         RowGroups groups, double eps, at::ScalarType out) {
  const int64_t rows = x.size(0), dim = x.size(1);
  const bool suits = suits_kernel(x, {&multiplier, &offset}) && (out == at::kFloat || out == at::kBFloat16);
  if (suits && !x.device().is_cpu()) {
    at::Tensor result = at::empty({rows, dim}, x.options().dtype(out));
    if (norm_on_gpu(x, multiplier, offset, groups, eps, result)) return result;
  }
  if (!suits || !x.device().is_cpu())
    return (at::layer_norm(x, {dim}, {}, {}, eps) * spread(multiplier, groups, rows) +
            spread(offset, groups, rows))
        .to(out);
  at::Tensor result = at::empty({rows, dim}, x.options().dtype(out));
  const RowOf multiplier_of(multiplier, groups), offset_of(offset, groups);
  std::vector<float> buffer(out == at::kFloat ? 0 : dim);
  for (int64_t r = 0; r < rows; ++r) {
    float* row = buffer.empty() ? result.mutable_data_ptr<float>() + r * dim : buffer.data();
    simd::normalise_row(x.const_data_ptr<float>() + r * x.stride(0), multiplier_of(r), offset_of(r), dim,
                        static_cast<float>(eps), row);
    if (!buffer.empty())
      simd::narrow_row(row, dim, static_cast<uint16_t*>(result.mutable_data_ptr()) + r * dim);
  }
  return result;
}

void gated_add(at::Tensor& x, const at::Tensor& y, const at::Tensor& gate, RowGroups groups) {
  const int64_t rows = x.size(0), dim = x.size(1);
  const bool narrowed = y.scalar_type() == at::kBFloat16;
  const bool suits = suits_kernel(x, {&gate}) && has_plain_rows(y) && y.sizes() == x.sizes();
  if (suits && add_on_gpu(x, y, gate, groups)) return;
  if (!suits || !x.device().is_cpu()) {
    if (gate.defined())
      x.addcmul_(y.to(x.scalar_type()), spread(gate, groups, rows));
    else
      x.add_(y);
    return;
  }
  for (int64_t r = 0; r < rows; ++r) {
    float* row = x.mutable_data_ptr<float>() + r * x.stride(0);
    const float* g = gate.defined() ? RowOf(gate, groups)(r) : nullptr;
    if (narrowed)
      simd::add_bf16_row(row, static_cast<const uint16_t*>(y.const_data_ptr()) + r * y.stride(0), g, dim);
    else
      simd::add_row(row, y.const_data_ptr<float>() + r * y.stride(0), g, dim);
  }
}

}  // namespace flowcache
