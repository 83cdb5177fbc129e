// SPDX-License-Identifier: LGPL-2.1-or-later
// FlowCache's reuse policy (arXiv 2602.10825): every chunk in flight keeps its own accumulator and decides
// alone. The two forms of the paper are settings of this one policy, which differ in what they compare: embedded
// latents (MAGI-1) and timestep modulation with TeaCache's polynomial (SkyReels-V2).
#pragma once

#include <map>

#include "cache/registry.h"
#include "cache/reuse/accumulator.h"
#include "cache/reuse/distance.h"

namespace flowcache {

struct FlowCacheConfig {
  int warmup = 3;             // steps of each chunk that are computed before any is reused
  Tap feature = Tap::tokens;  // tokens or modulation
  ReuseKind residual = ReuseKind::velocity;
  Metric metric = Metric::fp32;
  bool protect_last = true;        // compute each chunk's last step, whose keys and values become history
  std::vector<double> polynomial;  // highest power first; empty: none
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
    KeptFeature previous;  // of the step before, computed or reused
  };
  Decision decide_one(const ChunkStep& step, double threshold) override;

  FlowCacheConfig config_;
  std::map<int64_t, State> chunks_;
};

}  // namespace flowcache
