// SPDX-License-Identifier: LGPL-2.1-or-later
// Which guidance branches a computed step runs. Composes with any reuse policy whose residual is the guided
// velocity: "ramp+cfg_cache".
#pragma once

#include <ATen/ATen.h>

#include "cache/reuse/reuse_policy.h"

namespace flowcache {

// Not thread-safe: one object a stream.
class GuidancePolicy {
 public:
  virtual ~GuidancePolicy() = default;
  // Called once for each computed step: true leaves the unconditional branch out. Never for a step whose keys
  // and values become history, nor for one that the stream's rules demand.
  virtual bool skips_unconditional(const StepInfo& info) = 0;
  // Both branches ran: velocities [C, F, h, w] fp32.
  virtual void computed(const StepInfo& info, const at::Tensor& conditional,
                        const at::Tensor& unconditional) = 0;
  // The unconditional velocity of a step that left it out. Only after skips_unconditional() said true.
  virtual at::Tensor unconditional(const StepInfo& info, const at::Tensor& conditional) = 0;
  virtual void end_chunk(int64_t chunk) = 0;
  virtual void reset() = 0;
  virtual uint64_t state_bytes() const = 0;
};

}  // namespace flowcache
