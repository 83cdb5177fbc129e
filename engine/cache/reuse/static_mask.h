// SPDX-License-Identifier: LGPL-2.1-or-later
// Policies that know before a chunk begins which of its steps are computed. ε only switches them on or off:
// with 0 no step is reused, with any larger value the mask decides.
#pragma once

#include <functional>
#include <set>

#include "cache/registry.h"

namespace flowcache {

class StaticMask : public PerChunkPolicy {
 public:
  // True: this step is computed. The first step of a chunk is always computed.
  using Mask = std::function<bool(const StepInfo&)>;

  StaticMask(Mask mask, ReuseKind kind) : mask_(std::move(mask)), kind_(kind) {}
  Tap taps() const override { return Tap::none; }
  ReuseKind kind() const override { return kind_; }
  void residuals_dropped(int64_t chunk) override { begun_.erase(chunk); }
  void end_chunk(int64_t chunk) override { begun_.erase(chunk); }
  void reset() override { begun_.clear(); }
  uint64_t state_bytes() const override { return 0; }

 private:
  Decision decide_one(const ChunkStep& step, double threshold) final;

  Mask mask_;
  ReuseKind kind_;
  std::set<int64_t> begun_;  // chunks that have a residual to reuse
};

// A mask that computes the first `start` steps of a chunk, then every interval-th step, and the last one.
StaticMask::Mask every_nth(int interval, int start);
// The options interval, start and residual, and those of prediction, with these defaults.
std::vector<OptionSpec> interval_options(int interval, int start, int order);
// The policy that these options describe.
std::unique_ptr<ReusePolicy> make_interval(const Options& options);

}  // namespace flowcache
