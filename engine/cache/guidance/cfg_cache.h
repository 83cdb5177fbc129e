// SPDX-License-Identifier: LGPL-2.1-or-later
// FasterCache's CFG-Cache (arXiv 2410.19355). The unconditional velocity is rebuilt from the conditional one
// and the last known difference of the two. Low and high spatial frequencies of this difference get factors
// of their own.
#pragma once

#include <map>

#include "cache/guidance/guidance_policy.h"

namespace flowcache {

struct CfgCacheConfig {
  double start = 0.35;  // share of a chunk's steps, at its start, that run both branches
  int refresh = 5;      // every n-th computed step runs both branches again
  // Until the share low_until of the steps, each step that leaves the branch out multiplies the low
  // frequencies.
  double low_until = 0.83, low_weight = 1.1;
  double high_from = 0.65, high_weight = 1.1;  // the same for the high frequencies, from high_from on
};

// [h, w] float, in the order of the FFT: 1 where a frequency of an h x w picture is at most min(h, w) / 5
// from zero, else 0.
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
    int skipped = 0;       // computed steps without the unconditional branch since both ran
  };

  CfgCacheConfig config_;
  std::map<int64_t, State> chunks_;
};

}  // namespace flowcache
