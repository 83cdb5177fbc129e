// SPDX-License-Identifier: LGPL-2.1-or-later
// A guidance policy decides which guidance branches run on a computed step. It works with any reuse policy
// that keeps no tokens for each branch: "ramp+cfg_cache". "attention+cfg_cache" is all of FasterCache.
#pragma once

#include <ATen/ATen.h>

#include "cache/reuse/reuse_policy.h"

namespace flowcache {

// Not thread-safe. Each stream has its own policy object.
class GuidancePolicy {
 public:
  virtual ~GuidancePolicy() = default;
  // Called once for each computed step. True: the unconditional branch does not run. Not called for a step
  // whose keys and values become history, nor for one that the stream's rules demand.
  virtual bool skips_unconditional(const StepInfo& info) = 0;
  // Both branches ran and gave these velocities, [C, F, h, w] fp32.
  virtual void computed(const StepInfo& info, const at::Tensor& conditional,
                        const at::Tensor& unconditional) = 0;
  // The unconditional velocity of a step whose branch did not run. Called only after skips_unconditional()
  // was true.
  virtual at::Tensor unconditional(const StepInfo& info, const at::Tensor& conditional) = 0;
  virtual void end_chunk(int64_t chunk) = 0;
  virtual void reset() = 0;
  virtual uint64_t state_bytes() const = 0;
};

}  // namespace flowcache
