// SPDX-License-Identifier: LGPL-2.1-or-later
#include "families/wan/block.h"

#include <array>

#include "flash_attention.h"
#include "rms_norm_rope.h"

namespace flowcache::wan {
Projected::Projected(const TransformerShape& shape, int64_t tokens, const at::TensorOptions& options,
                     const KeyValue& slots)
    : k(slots.k), v(slots.v) {
  for (at::Tensor* one : {&q, &k, &v}) {
    const std::array<int64_t, 3> size = {shape.heads, tokens, shape.head_dim};
    if (!one->defined() || one->sizes() != size || one->dtype() != options.dtype())
      *one = at::empty(size, options);
  }
}

KeyValue text_keys(const BlockWeights& weights, const TransformerShape& shape, double eps,
                   const at::Tensor& text) {
  Projected out(shape, text.size(0), text.options());
  rms_norm_rope(weights.cross_k(text), weights.cross_norm_k, eps, {}, {}, 0, out.k);
  rms_norm_rope(weights.cross_v(text), {}, eps, {}, {}, 0, out.v);
  return {out.k, out.v};
}

void Block::project(const at::Tensor& x, int64_t row, int64_t count, Projected& out) const {
  const RowGroups groups{pass.first_row + row, pass.rows_per_group};
  const int64_t dim = pass.shape.dim;
  const at::Tensor a =
      norm_modulate(x.narrow(0, row, count), part(1), part(0), groups, pass.eps, pass.compute);
  const at::Tensor qkv = weights.qkv(a);
  const auto& [cos, sin] = pass.rope;
  rms_norm_rope(qkv.narrow(1, 0, dim), weights.norm_q, pass.eps, cos, sin, row, out.q);
  rms_norm_rope(qkv.narrow(1, dim, dim), weights.norm_k, pass.eps, cos, sin, row, out.k);
  rms_norm_rope(qkv.narrow(1, 2 * dim, dim), {}, pass.eps, {}, {}, row, out.v);
}

at::Tensor Block::attend(int64_t row, int64_t count, const SelfAttention& attention) const {
  if (attention.known.defined()) return attention.known.narrow(0, row, count);
  const auto& [q, all, mixed, known, kept] = attention;
  const at::Tensor out = weights.o(mixed.defined() ? mixed.narrow(0, row, count)
                                                   : flash_attention(q.narrow(1, row, count), all.k, all.v));
  if (kept.defined()) kept.narrow(0, row, count).copy_(out);
  return out;
}

void Block::attend_and_feed(at::Tensor& x, int64_t row, int64_t count, const SelfAttention& attention) const {
  const RowGroups groups{pass.first_row + row, pass.rows_per_group};
  at::Tensor rows = x.narrow(0, row, count);
  gated_add(rows, attend(row, count, attention), part(2), groups);

  const at::Tensor c =
      norm_modulate(rows, weights.norm3_weight, weights.norm3_bias, {}, pass.eps, pass.compute);
  at::Tensor cross_q = at::empty({pass.shape.heads, count, pass.shape.head_dim}, c.options());
  rms_norm_rope(weights.cross_q(c), weights.cross_norm_q, pass.eps, {}, {}, 0, cross_q);
  gated_add(rows, weights.cross_o(flash_attention(cross_q, text.k, text.v)), {}, {});

  const at::Tensor f = norm_modulate(rows, part(4), part(3), groups, pass.eps, pass.compute);
  gated_add(rows, weights.ffn_out(weights.ffn_in(f, Activation::gelu_tanh)), part(5), groups);
}

}  // namespace flowcache::wan
