// SPDX-License-Identifier: LGPL-2.1-or-later
// Policies that know before a chunk begins which of its steps they compute. ε only switches them on: 0 never
// reuses, anything larger follows the mask.
#pragma once

#include <functional>
#include <set>

#include "cache/registry.h"

namespace flowcache {

class StaticMask : public PerChunkPolicy {
 public:
  // Computes this step? A chunk's first is computed whatever it says.
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
  std::set<int64_t> begun_;  // chunks that have computed something to reuse
};

// Computes the first `start` steps of a chunk, then every interval-th, and the last one.
StaticMask::Mask every_nth(int interval, int start);
// The options interval, start and residual, and those of prediction, with these defaults.
std::vector<OptionSpec> interval_options(int interval, int start, int order);
// Of these options.
std::unique_ptr<ReusePolicy> make_interval(const Options& options);

}  // namespace flowcache
