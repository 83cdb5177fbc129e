// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/interruption.h"
#include "flash_attention.h"
#include "simd/attention.h"
#include "simd/number_type.h"
#include "thread_scratch.h"

namespace flowcache {
namespace {

bool suits_kernel(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const bool bf16 = q.scalar_type() == at::kBFloat16;
  if (!q.device().is_cpu() || (!bf16 && q.scalar_type() != at::kFloat)) return false;
  if (q.size(2) % 16 != 0 || k.size(0) != q.size(0)) return false;
  for (const at::Tensor* t : {&q, &k, &v}) {
    if (t->scalar_type() != q.scalar_type() || t->stride(2) != 1) return false;
  }
  return true;
}

using simd::NumberType;

NumberType type_of(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  if (q.scalar_type() == at::kFloat) return NumberType::fp32;
  for (const at::Tensor* t : {&q, &k, &v})
    if (t->stride(0) % 2 != 0 || t->stride(1) % 2 != 0 || t->storage_offset() % 2 != 0)
      return NumberType::bf16_widened;
  return simd::fastest_bf16();
}

}  // namespace

at::Tensor flash_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const int64_t heads = q.size(0), rows = q.size(1), dim = q.size(2);
  if (!suits_kernel(q, k, v))
    return at::scaled_dot_product_attention(q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0))
        .squeeze(0)
        .transpose(0, 1)
        .flatten(1);
  at::Tensor out = at::empty({rows, heads * dim}, q.options());
  const int64_t element = q.element_size();
  const auto at_head = [&](const at::Tensor& t, int64_t head) {
    return static_cast<const std::byte*>(t.const_data_ptr()) + head * t.stride(0) * element;
  };
  const NumberType type = type_of(q, k, v);
  float* scratch = thread_scratch(simd::attention_scratch(rows, dim));
  for (int64_t head = 0; head < heads; ++head) {
    stop_if_asked();
    simd::attention_head({.q = at_head(q, head),
                          .k = at_head(k, head),
                          .v = at_head(v, head),
                          .out = static_cast<std::byte*>(out.mutable_data_ptr()) + head * dim * element,
                          .q_stride = q.stride(1),
                          .k_stride = k.stride(1),
                          .v_stride = v.stride(1),
                          .out_stride = heads * dim,
                          .rows = rows,
                          .keys = k.size(1),
                          .dim = dim},
                         type, scratch);
  }
  return out;
}

}  // namespace flowcache
