// SPDX-License-Identifier: LGPL-2.1-or-later
// One block of the Wan DiT in two parts, before and after self-attention, which is where rows depend on each
// other.
#pragma once

#include <vector>

#include "families/wan/wan.h"
#include "families/wan/weights.h"
#include "norm_modulate.h"

namespace flowcache::wan {

// Keys and values of a prompt for every layer: [heads, text_len, head_dim].
class TextKeys final : public Condition {
 public:
  std::vector<KeyValue> layers;
};

// text: [text_len, dim], after text_embedding, in the compute type.
KeyValue text_keys(const BlockWeights& weights, const TransformerShape& shape, double eps,
                   const at::Tensor& text);

// Queries, keys and values of a chunk in one layer: [heads, tokens, head_dim], after norm and RoPE.
struct Projected {
  Projected() = default;
  // Keys and values lie in `slots` if these are given and of this shape and type (kv_view.h).
  Projected(const TransformerShape& shape, int64_t tokens, const at::TensorOptions& options,
            const KeyValue& slots = {});
  at::Tensor q, k, v;
};

// One layer's self-attention of q over `all`, or its output if that is known.
struct SelfAttention {
  at::Tensor q;
  KeyValue all;
  at::Tensor mixed;  // [L, dim], before the output projection; if defined, q and all are not used
  at::Tensor known;  // [L, dim], the output after the output projection; if defined, q and all are not used
  at::Tensor kept;   // [L, dim]; if defined, the computed output is stored here
};

// What all blocks of a forward pass share.
struct Pass {
  const TransformerShape& shape;
  double eps = 0;
  at::ScalarType compute = at::kFloat;
  RopeTable rope;
  int64_t rows_per_group = 0;  // number of rows that share a timestep
  int64_t first_row = 0;       // of the chunk's tokens, that x and rope begin with
};

// Both functions work on the rows [row, row + count) of x [L, dim] fp32 and use no others, so several ranges
// may run at the same time.
struct Block {
  const BlockWeights& weights;
  const KeyValue& text;
  // [groups, 6, dim]: shift, 1 + scale and gate of attention, then those of the feed-forward.
  at::Tensor modulation;
  const Pass& pass;

  // Computes q, k and v for these rows of x.
  void project(const at::Tensor& x, int64_t row, int64_t count, Projected& out) const;
  // Adds self-attention, attention over the text, and the feed-forward to these rows of x.
  void attend_and_feed(at::Tensor& x, int64_t row, int64_t count, const SelfAttention& attention) const;

 private:
  at::Tensor attend(int64_t row, int64_t count, const SelfAttention& attention) const;
  at::Tensor part(int index) const { return modulation.select(1, index); }
};

}  // namespace flowcache::wan
