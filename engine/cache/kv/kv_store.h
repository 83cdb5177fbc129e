// SPDX-License-Identifier: LGPL-2.1-or-later
// The bounded KV buffer of one stream and one guidance branch: history (finished chunks) then the chunks in
// flight.
//
// One allocation at construction, never grown. Per layer the slots are [history | oldest chunk in flight |
// …], so that what a chunk may attend is always one contiguous run that ends with the chunk itself, and a
// chunk that finishes becomes history without being copied. When history exceeds the budget the policy names
// the slots to keep, and the rest closes up.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "cache/kv/kv_policy.h"
#include "networks/kv_view.h"

namespace flowcache {

struct KvGeometry {
  int layers = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t tokens_per_frame = 0;
  int64_t tokens_per_chunk = 0;
  int64_t window_chunks = 1;  // most chunks in flight at once
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
  std::vector<double> time_frequencies = {};  // TransformerShape's; only for policies that close gaps

  // Keys and values of `tokens` tokens, all layers, in bytes.
  uint64_t bytes(int64_t tokens) const;
};

// Not thread-safe.
class KvStore {
 public:
  // budget_tokens: the most tokens that history may hold per layer and head. Throws FC_ERROR_ARGUMENT if it
  // is smaller than one chunk (the message has both sizes in bytes) or the policy closes gaps and the
  // geometry has no time_frequencies, FC_ERROR_MEMORY if the buffer cannot be allocated.
  KvStore(const KvGeometry& geometry, int64_t budget_tokens, std::unique_ptr<KvPolicy> policy);
  ~KvStore();

  // Gives `chunk` its slots behind the newest one in flight. first_frame: its absolute latent frame.
  void admit(int64_t chunk, int64_t first_frame);
  // The view through which the network runs `chunk`; every forward of a chunk overwrites its slots. Chunks
  // attend history, older chunks in flight as they were last computed, and themselves. Valid until finish()
  // or reset().
  KvView& view(int64_t chunk);
  // The oldest chunk in flight is done: its slots become history; shrinks history if it exceeds the budget.
  // Returns true if anything was dropped (rule R5). Throws FC_ENDED if the policy never drops and the budget
  // is full.
  // `change` [tokens_per_chunk] fp32: the chunk's, where the policy needs it (KvPolicy::needs_change), else
  // undefined.
  bool finish(int64_t chunk, const at::Tensor& change = {});
  const KvPolicy& policy() const;
  // Drops the history; the chunks in flight stay and no longer attend it. Returns true if there was any.
  bool forget_history();
  // Drops everything, keeps the allocation.
  void reset();

  int64_t history_tokens() const;
  int64_t budget_tokens() const;
  uint64_t history_bytes() const;  // keys and values of finished chunks now
  uint64_t budget_bytes() const;
  uint64_t allocated_bytes() const;  // the whole buffer, and what closing gaps needs beside it; constant
  // History of one layer, for tests and tools: views [kv_heads, T, head_dim].
  KeyValue history(int layer) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace flowcache
