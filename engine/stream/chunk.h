// SPDX-License-Identifier: LGPL-2.1-or-later
// A finished chunk as it leaves a stream.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "stream/lane.h"

namespace flowcache {

// Whether frames of a stream are wanted in host memory. Shared by the stream and its chunks; any thread.
using HostWish = std::atomic<bool>;

// The frames of one chunk in host memory. Any thread.
class HostFrames {
 public:
  // wish: set by the first reader, so that the stream's next chunks are copied before they leave it.
  explicit HostFrames(std::shared_ptr<HostWish> wish = nullptr) : wish_(std::move(wish)) {}
  // Begins to copy, on the calling thread's lane, which makes `frames`. Before any call of of().
  void begin(const at::Tensor& frames);
  // [n, 3, H, W] fp32 of `frames`, copied once. made: the place where they are there.
  at::Tensor of(const at::Tensor& frames, const Mark& made) const;

 private:
  std::shared_ptr<HostWish> wish_;
  mutable std::mutex mutex_;
  mutable at::Tensor copy_;
  mutable Mark copied_;
};

// Immutable after Stream::next() has returned it.
struct Chunk {
  explicit Chunk(std::shared_ptr<HostWish> wish = nullptr) : host(std::move(wish)) {}

  at::Tensor frames;  // [n, 3, H, W] fp32 in 0..1, on the stream's device
  Mark
      decoded;  // on a GPU `frames` and `latent` are there once it is reached: wait for it, or block your lane
  // Of a model on a GPU: all frames in host memory, in one copy, as soon as somebody has wanted one of them there.
  HostFrames host;
  at::Tensor latent;  // [C, F, h, w] fp32; `frames` was decoded from it
  int64_t index = 0;
  uint64_t seed = 0;
  uint64_t prompt_ticket = 0;
  std::vector<uint8_t> decisions;  // one for each step: 1 computed, 0 reused
  double threshold = 0;
  uint64_t kv_bytes = 0, kv_budget = 0;
  double seconds = 0;
  // How many computed steps the deadline has cost this chunk, including those given up while it was made.
  int governor_level = 0;
  double strength = 1;         // that it was fed with; 1: it owes nothing to what was fed
  double flops = 0;            // operations of the blocks that ran for it, with the clean pass; 0: not known
  int recached_chunks = 0;     // chunks of the history that ran once more before it
  double recache_seconds = 0;  // what that took
  uint64_t lora_ticket = 0;    // of the LoRAs that it was made with
  double lora_seconds = 0;     // what it took to read and merge these
};

// How many of a chunk's steps were computed.
inline int count_computed(const std::vector<uint8_t>& decisions) {
  return static_cast<int>(std::count(decisions.begin(), decisions.end(), 1));
}

}  // namespace flowcache
