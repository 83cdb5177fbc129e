// SPDX-License-Identifier: LGPL-2.1-or-later
// One block of the Wan DiT, cut where rows meet: in self-attention.
#pragma once

#include <vector>

#include "families/wan/wan.h"
#include "families/wan/weights.h"
#include "norm_modulate.h"

namespace flowcache::wan {

// Keys and values of a prompt in every layer: [heads, text_len, head_dim].
class TextKeys final : public Condition {
 public:
  std::vector<KeyValue> layers;
};

// text [text_len, dim] after text_embedding, in the compute type.
KeyValue text_keys(const BlockWeights& weights, const TransformerShape& shape, double eps,
                   const at::Tensor& text);

// Queries, keys and values of a chunk in one layer, [heads, tokens, head_dim], after norm and RoPE.
struct Projected {
  Projected() = default;
  Projected(const TransformerShape& shape, int64_t tokens, const at::TensorOptions& options);
  at::Tensor q, k, v;
};

// One layer's self-attention: of q over `all`, or what is known of it.
struct SelfAttention {
  at::Tensor q;
  KeyValue all;
  at::Tensor known;  // [L, dim], after the output projection; if defined, q and all are not looked at
  at::Tensor kept;   // [L, dim]; if defined, takes what is computed
};

// What the blocks of one forward pass share.
struct Pass {
  const TransformerShape& shape;
  double eps = 0;
  at::ScalarType compute = at::kFloat;
  RopeTable rope;
  int64_t rows_per_group = 0;  // rows that share a timestep
};

// Both calls work on rows [row, row + count) of x [L, dim] fp32 and touch no others, so ranges may run at
// once.
struct Block {
  const BlockWeights& weights;
  const KeyValue& text;
  at::Tensor
      modulation;  // [groups, 6, dim]: shift, 1 + scale and gate of attention, then of the feed-forward
  const Pass& pass;

  // x -> these rows of q, k and v.
  void project(const at::Tensor& x, int64_t row, int64_t count, Projected& out) const;
  // Adds to x: self-attention, attention over the text, feed-forward.
  void attend_and_feed(at::Tensor& x, int64_t row, int64_t count, const SelfAttention& attention) const;

 private:
  at::Tensor attend(int64_t row, int64_t count, const SelfAttention& attention) const;
  at::Tensor part(int index) const { return modulation.select(1, index); }
};

}  // namespace flowcache::wan
