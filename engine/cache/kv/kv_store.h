// SPDX-License-Identifier: LGPL-2.1-or-later
// The KV buffer of one guidance branch of a stream: the history (finished chunks), then the chunks in flight.
//
// The buffer is allocated once, at construction, and never grows. The slots of a layer are [history | oldest
// chunk in flight | …]. So all that a chunk may attend is one contiguous range that ends with the chunk
// itself, and a chunk that finishes becomes history without a copy. If the history then exceeds the budget,
// the policy names the slots to keep, and they move together.
//
// With a history in 8 bits (kv_int8.h) the chunks in flight have a buffer of their own, in the compute type. What a layer
// attends is put together in a scratch of one layer whenever it runs, and a chunk that finishes is rounded once.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/kv/kv_policy.h"
#include "networks/kv_view.h"

namespace flowcache {

// How the numbers of the history are kept.
enum class KvPrecision {
  full,  // in the type that the network computes in
  int8   // in 8 bits, with a scale for each head and token
};
// "", "auto" and "full" are full. Throws FC_ERROR_ARGUMENT for an unknown name.
KvPrecision choose_kv_precision(const std::string& name);

struct KvGeometry {
  int layers = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t tokens_per_frame = 0;
  int64_t tokens_per_chunk = 0;
  int64_t window_chunks = 1;  // largest number of chunks in flight
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
  std::vector<double> time_frequencies = {};  // TransformerShape's; only for policies that move keys in time
  int64_t heads = 0;                          // of the queries; 0: known at the first append()
  KvPrecision precision = KvPrecision::full;
  // What a policy may allocate for a moment on a device that is not the CPU, beside the stores.
  uint64_t scratch_bytes = uint64_t{64} << 20;
  int64_t trained_frames = 0;  // latent frames of the longest video that the model was trained on; 0: unknown

  // Keys and values of `tokens` tokens of history, all layers, in bytes.
  uint64_t bytes(int64_t tokens) const;
  // The same of chunks in flight.
  uint64_t bytes_in_flight(int64_t tokens) const;
};

// The most that a store allocates on its device, in bytes: room for the budget, for the chunks in flight, and all that is
// needed beside them.
struct KvNeeds {
  uint64_t history = 0, in_flight = 0, scratch = 0;
};
// The latent frames that the history may span, so that the last frame of the newest chunk in flight is no further from its
// oldest one than the model was trained on; 0: no gaps at all. Nothing: keys are never moved in time, because the
// policy says so, or has no gaps, or because the trained length is unknown.
std::optional<int64_t> kv_reach(const KvGeometry& geometry, const KvPolicy& policy);
KvNeeds kv_needs(const KvGeometry& geometry, int64_t budget_tokens, const KvPolicy& policy);

// Hears what is done to a store, so that other processes do the same to theirs, which have other heads. Throws nothing.
class KvFollower {
 public:
  virtual ~KvFollower() = default;
  virtual int store() const = 0;  // its name among all that are followed
  virtual void admit(int64_t chunk, int64_t first_frame) = 0;
  virtual void finish(int64_t chunk, const at::Tensor& change) = 0;
  virtual void forget_history() = 0;
  virtual void reset() = 0;
  // Of a store whose keys and values are elsewhere: KvStore::held_chunks() there. Nothing: they are here.
  virtual std::optional<std::map<int64_t, int64_t>> held_chunks() { return {}; }
};

// Not thread-safe.
class KvStore {
 public:
  // budget_tokens: the largest number of tokens in the history of each layer and head. Throws
  // FC_ERROR_ARGUMENT if it is smaller than one chunk (the message names both sizes in bytes), or if the
  // policy asks for relative positions and the geometry has no time_frequencies; FC_ERROR_MEMORY if the buffer cannot be
  // allocated.
  KvStore(const KvGeometry& geometry, int64_t budget_tokens, std::unique_ptr<KvPolicy> policy);
  ~KvStore();
  // From now on `follower` hears every change. Before the first admit().
  void follow(std::unique_ptr<KvFollower> follower);

  // Gives `chunk` its slots, after those of the newest chunk in flight. first_frame: the number of the
  // chunk's first latent frame in the video.
  void admit(int64_t chunk, int64_t first_frame);
  // The view through which the network runs `chunk`. Every forward pass overwrites the chunk's slots. A chunk
  // attends history, older chunks in flight with the keys and values of their last computed step, and itself.
  // The view is valid until finish() of this chunk, or reset().
  KvView& view(int64_t chunk);
  // The oldest chunk in flight, `chunk`, is finished: its slots become history. If the history exceeds the
  // budget, the policy reduces it. Returns true if tokens were dropped or moved in time (rule R5). Throws FC_ENDED if the
  // budget is full and the policy never drops anything. `change`: fp32 [tokens_per_chunk], see
  // KvPolicy::needs_change() and needs_drift(); undefined for frames
  // that the stream was given. If the policy fails, nothing has changed, and this can be called again.
  bool finish(int64_t chunk, const at::Tensor& change = {});
  bool is_in_flight(int64_t chunk) const;
  const KvPolicy& policy() const;
  // Drops the history. The chunks in flight stay and no longer attend it. Returns false if there was no
  // history.
  bool forget_history();
  // Drops history and chunks in flight. The memory stays allocated.
  void reset();

  std::optional<int64_t> reach() const;  // see kv_reach()
  int64_t history_tokens() const;
  int64_t budget_tokens() const;
  uint64_t history_bytes() const;  // keys and values that the history holds now
  uint64_t budget_bytes() const;
  // What is allocated now. Constant, but on a device that moves rows through a scratch: it is made at the first time.
  uint64_t allocated_bytes() const;
  // How many tokens of each chunk the history holds, in the first head of all layers together. The key is the number of
  // the chunk's first latent frame in the video.
  std::map<int64_t, int64_t> held_chunks() const;
  // The history of one layer, as views [kv_heads, T, head_dim]; for tests and tools. With 8 bits they are valid until
  // the next call.
  KeyValue history(int layer) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace flowcache
