// SPDX-License-Identifier: LGPL-2.1-or-later
// FlowCache's reuse policy (arXiv 2602.10825). Every chunk in flight has its own accumulator and decides for
// itself. The paper has two forms, which differ in the feature that is compared: embedded latents (MAGI-1),
// and timestep modulation with TeaCache's polynomial (SkyReels-V2). Both are settings of this policy.
#pragma once

#include <map>

#include "cache/registry.h"
#include "cache/reuse/accumulator.h"
#include "cache/reuse/distance.h"

namespace flowcache {

struct FlowCacheConfig {
  int warmup = 3;             // the first steps of each chunk, always computed
  Tap feature = Tap::tokens;  // tokens or modulation
  ReuseKind residual = ReuseKind::velocity;
  Metric metric = Metric::fp32;
  bool protect_last = true;        // compute each chunk's last step, whose keys and values become history
  std::vector<double> polynomial;  // coefficients, highest power first; empty: the distance is used as it is
  UnsafeDistance unsafe = UnsafeDistance::compute;
};

class FlowCacheReuse final : public PerChunkPolicy {
 public:
  explicit FlowCacheReuse(FlowCacheConfig config) : config_(std::move(config)) {}

  Tap taps() const override { return config_.feature; }
  ReuseKind kind() const override { return config_.residual; }
  void end_chunk(int64_t chunk) override { chunks_.erase(chunk); }
  void reset() override { chunks_.clear(); }
  uint64_t state_bytes() const override;

 private:
  struct State {
    Accumulator accumulator;
    KeptFeature previous;  // feature of the step before, computed or reused
  };
  Decision decide_one(const ChunkStep& step, double threshold) override;

  FlowCacheConfig config_;
  std::map<int64_t, State> chunks_;
};

}  // namespace flowcache
