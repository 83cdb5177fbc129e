// SPDX-License-Identifier: LGPL-2.1-or-later
// FasterCache's CFG-Cache (arXiv 2410.19355): the unconditional velocity is rebuilt from the conditional one
// and their last known difference, whose low and high spatial frequencies are weighted apart.
#pragma once

#include <map>

#include "cache/guidance/guidance_policy.h"

namespace flowcache {

struct CfgCacheConfig {
  double start = 0.35;  // share of a chunk's steps that run both branches at first
  int refresh = 5;      // every so many computed steps run both again
  double low_until = 0.83,
         low_weight = 1.1;  // before that share of the steps low frequencies grow by this a step
  double high_from = 0.65, high_weight = 1.1;  // from that share on, the high ones
};

// 1 where a frequency of an h x w picture lies within min(h, w)/5 of zero: [h, w] float, in the order of the
// FFT.
at::Tensor low_frequencies(int64_t h, int64_t w);

class CfgCache final : public GuidancePolicy {
 public:
  explicit CfgCache(const CfgCacheConfig& config) : config_(config) {}
  bool skips_unconditional(const StepInfo& info) override;
  void computed(const StepInfo& info, const at::Tensor& conditional,
                const at::Tensor& unconditional) override;
  at::Tensor unconditional(const StepInfo& info, const at::Tensor& conditional) override;
  void end_chunk(int64_t chunk) override { chunks_.erase(chunk); }
  void reset() override { chunks_.clear(); }
  uint64_t state_bytes() const override;

 private:
  struct State {
    at::Tensor low, high;  // spectra of unconditional - conditional, complex [C, F, h, w]
    int skipped = 0;       // since both branches ran
  };

  CfgCacheConfig config_;
  std::map<int64_t, State> chunks_;
};

}  // namespace flowcache
