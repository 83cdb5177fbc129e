// SPDX-License-Identifier: LGPL-2.1-or-later
// A finished chunk as it leaves a stream.
#pragma once

#include <ATen/ATen.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace flowcache {

// Whether frames of a stream are wanted in host memory. Shared by the stream and its chunks; any thread.
using HostWish = std::atomic<bool>;

// The frames of one chunk in host memory. Any thread.
class HostFrames {
 public:
  // wish: set by the first reader, so that the stream's next chunks are copied before they leave it.
  explicit HostFrames(std::shared_ptr<HostWish> wish = nullptr) : wish_(std::move(wish)) {}
  // [n, 3, H, W] fp32 of `frames`, copied once.
  at::Tensor of(const at::Tensor& frames) const;

 private:
  std::shared_ptr<HostWish> wish_;
  mutable std::mutex mutex_;
  mutable at::Tensor copy_;
};

// Immutable once made.
struct Chunk {
  explicit Chunk(std::shared_ptr<HostWish> wish = nullptr) : host(std::move(wish)) {}

  at::Tensor frames;  // [n, 3, H, W] fp32 in 0..1, on the stream's device
  // Of a model on a GPU: all frames in host memory, in one copy, as soon as somebody has wanted one of them there.
  HostFrames host;
  at::Tensor latent;  // [C, F, h, w] fp32, what was decoded
  int64_t index = 0;
  uint64_t seed = 0;
  uint64_t prompt_ticket = 0;
  std::vector<uint8_t> decisions;  // one a step: 1 computed, 0 reused
  double threshold = 0;
  uint64_t kv_bytes = 0, kv_budget = 0;
  double seconds = 0;
  int governor_level =
      0;  // computed steps that the deadline has cost this chunk, those given up on the way included
  double flops = 0;  // of the blocks that ran for it, clean pass included; 0 where the family does not tell
};

}  // namespace flowcache
