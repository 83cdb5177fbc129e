// SPDX-License-Identifier: LGPL-2.1-or-later
// EasyCache (arXiv 2507.02860): the change of the latent, times the rate at which the network's output last
// answered such a change, predicts the change of the output. Nothing of the network runs on a reused step.
#pragma once

#include "cache/registry.h"
#include "cache/reuse/accumulator.h"
#include "cache/reuse/distance.h"

namespace flowcache {

struct EasyCacheConfig {
  int warmup = 0;  // steps of each chunk computed at first; 0: a fifth of them, at least two
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
    KeptFeature previous;         // latent of the step before, computed or not
    KeptFeature input, output;    // of the last computed step
    double output_magnitude = 0;  // mean |output|
    double rate = -1;             // mean change of output / mean change of input; negative: not known yet
  };
  Decision decide_one(const ChunkStep& step, double threshold) override;

  EasyCacheConfig config_;
  std::map<int64_t, State> chunks_;
};

}  // namespace flowcache
