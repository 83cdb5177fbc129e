// SPDX-License-Identifier: LGPL-2.1-or-later
// Which guidance branches run on a step that runs the network. Composes with any reuse policy that keeps no
// residual of each branch's tokens: "ramp+cfg_cache"; "attention+cfg_cache" is FasterCache whole.
#pragma once

#include <ATen/ATen.h>

#include "cache/reuse/reuse_policy.h"

namespace flowcache {

// Not thread-safe: one object a stream.
class GuidancePolicy {
 public:
  virtual ~GuidancePolicy() = default;
  // Called once for each step that runs the network: true leaves the unconditional branch out. Never for a
  // step whose keys and values become history, nor for one that the stream's rules demand.
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
