// SPDX-License-Identifier: LGPL-2.1-or-later
// EasyCache (arXiv 2507.02860). Between its last two computed steps a chunk's output changed at some rate for
// a given change of its latent. This rate times the newest change of the latent predicts the change of the
// output. A reused step runs no part of the network.
#pragma once

#include "cache/registry.h"
#include "cache/reuse/accumulator.h"
#include "cache/reuse/distance.h"

namespace flowcache {

struct EasyCacheConfig {
  int warmup = 0;  // the first steps of each chunk, always computed; 0: a fifth of its steps, at least two
  ReuseKind residual = ReuseKind::output_delta;
};

class EasyCache final : public PerChunkPolicy {
 public:
  explicit EasyCache(EasyCacheConfig config) : config_(config) {}

  Tap taps() const override { return Tap::latent | Tap::velocity; }
  ReuseKind kind() const override { return config_.residual; }
  void computed(const ChunkStep& step, const at::Tensor& velocity) override;
  void end_chunk(int64_t chunk) override { chunks_.erase(chunk); }
  void reset() override { chunks_.clear(); }
  uint64_t state_bytes() const override;

 private:
  struct State {
    Accumulator accumulator;
    KeptFeature previous;         // latent of the step before, computed or reused
    KeptFeature input, output;    // latent and velocity of the last computed step
    double output_magnitude = 0;  // mean |output|
    double rate = -1;             // mean change of output / mean change of input; negative: not yet known
  };
  Decision decide_one(const ChunkStep& step, double threshold) override;

  EasyCacheConfig config_;
  std::map<int64_t, State> chunks_;
};

}  // namespace flowcache
