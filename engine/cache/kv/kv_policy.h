// SPDX-License-Identifier: LGPL-2.1-or-later
// A KV policy chooses which keys and values of finished chunks are kept when they exceed the budget.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace flowcache {

// One layer's history, oldest token first, before it is reduced. Keys are taken after norm and RoPE.
struct HistoryLayer {
  at::Tensor k, v;     // [kv_heads, T, head_dim]
  at::Tensor queries;  // [heads, Lq, head_dim] of the chunk computed last; undefined unless needs_queries()
  // [kv_heads, T] int64: the token of each slot, counted from the start of the video:
  // frame * tokens_per_frame + place in the frame, row by row.
  at::Tensor origin;
  at::Tensor change;  // [T] fp32, see needs_change() and needs_drift(); undefined if the policy needs neither
  int64_t tokens_per_frame = 0;
  int64_t tokens_per_chunk = 0;
  uint64_t scratch_bytes = uint64_t{64}
                           << 20;  // what keep() may allocate for a moment on a device that is not the CPU
};

// Where kept frames stand in time.
enum class Positions {
  automatic,  // as in the video, until the oldest is further from the newest than the model was trained on; from then on
              // the older ones move up just so far that it is not
  absolute,  // as in the video
  relative   // moved up to the newer ones, without gaps
};

// Not thread-safe. Each guidance branch of a stream has its own policy object.
class KvPolicy {
 public:
  virtual ~KvPolicy() = default;
  virtual bool needs_queries() const { return false; }
  // The number of queries at the end of a chunk that the policy looks at; the store keeps no more. Used only
  // if needs_queries().
  virtual int64_t queries_wanted(int64_t /*tokens_per_frame*/, int64_t tokens_per_chunk) const {
    return tokens_per_chunk;
  }
  // A step. Its estimate of the clean latent is compared with the chunk's final latent; the mean squared
  // difference of each token is passed as HistoryLayer::change. Negative: not needed.
  virtual int needs_change(int /*steps*/) const { return -1; }
  // True: HistoryLayer::change is the mean squared difference of each token's latent from the one at the same place of the
  // chunk before; 0 in the first chunk of the video and in the first after a cut. Not together with needs_change().
  virtual bool needs_drift() const { return false; }
  // The store moves the keys in time (rebase.h). Unless it is absolute, keep() must return the same ascending slots for every
  // layer and head.
  virtual Positions positions() const { return Positions::absolute; }
  // Only slots before this one can have a gap in time behind them, so no others are ever moved.
  virtual int64_t movable(int64_t /*tokens_per_frame*/, int64_t history_tokens) const {
    return history_tokens;
  }
  // False: this policy never drops a token, and the stream ends when the budget is full.
  virtual bool drops() const { return true; }
  // A stream begins or restarts: the policy forgets everything. Throws FC_ERROR_ARGUMENT if its options do
  // not fit these sizes, for example a sink as large as the budget.
  virtual void begin(int64_t /*tokens_per_frame*/, int64_t /*tokens_per_chunk*/, int64_t /*budget_tokens*/) {}
  // Returns the slots to keep: int64 [kept] for all heads, or [kv_heads, kept]; at most `budget` of them.
  // They should ascend; another order works but costs a copy. Called for each layer in turn, from layer 0,
  // when T > budget. All layers must return the same shape. It may be on the layer's device: all layers' slots
  // are downloaded at once. With a history in 8 bits, k and v are what they stand for, and valid during the call.
  virtual at::Tensor keep(const HistoryLayer& layer, int64_t budget) = 0;
};

}  // namespace flowcache
