// SPDX-License-Identifier: LGPL-2.1-or-later
// Which keys and values of finished chunks to keep when they exceed the budget.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace flowcache {

// One layer's history, oldest first, as it stands when it must shrink. Keys are post-norm, post-RoPE.
struct HistoryLayer {
  at::Tensor k, v;     // [kv_heads, T, head_dim]
  at::Tensor queries;  // [heads, Lq, head_dim] of the chunk computed last; undefined unless needs_queries()
  at::Tensor
      origin;  // [kv_heads, T] int64: absolute token index (frame * tokens_per_frame + raster) of each slot
  at::Tensor change;  // [T] fp32: see needs_change(); undefined unless it is needed
  int64_t tokens_per_frame = 0;
  int64_t tokens_per_chunk = 0;
};

// Not thread-safe: one policy object a stream and branch.
class KvPolicy {
 public:
  virtual ~KvPolicy() = default;
  virtual bool needs_queries() const { return false; }
  // How many of the last queries of a chunk it looks at, at most; the store keeps no more. Only if
  // needs_queries().
  virtual int64_t queries_wanted(int64_t /*tokens_per_frame*/, int64_t tokens_per_chunk) const {
    return tokens_per_chunk;
  }
  // The step whose x0 estimate is compared with the chunk's final latent, token by token: the mean squared
  // difference comes as HistoryLayer.change. Negative: not needed.
  virtual int needs_change(int /*steps*/) const { return -1; }
  // True: after a shrinking the store moves older keys up in time behind the newer ones, so that no gap
  // stays. keep() then gives the same slots, ascending, for every layer and head.
  virtual bool closes_gaps() const { return false; }
  // False: this policy never drops anything, and the stream ends when the budget is full.
  virtual bool drops() const { return true; }
  // A stream begins, or begins again: forget everything. Throws FC_ERROR_ARGUMENT if the options do not fit
  // the sizes (e.g. a sink as large as the budget).
  virtual void begin(int64_t /*tokens_per_frame*/, int64_t /*tokens_per_chunk*/, int64_t /*budget_tokens*/) {}
  // Slots to keep, ascending (another order is obeyed, but costs a copy), at most `budget` of them: int64
  // [kept], the same for every head, or [kv_heads, kept]. Called per layer, layer 0 first, when T > budget.
  // Every layer of one shrinking keeps the same number of slots.
  virtual at::Tensor keep(const HistoryLayer& layer, int64_t budget) = 0;
};

}  // namespace flowcache
