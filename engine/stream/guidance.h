// SPDX-License-Identifier: LGPL-2.1-or-later
// Classifier-free guidance. A step has one or two branches; this decides which of them run, and makes one
// velocity of their velocities.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <memory>

#include "cache/guidance/guidance_policy.h"

namespace flowcache {

// 0 conditional, 1 unconditional.
constexpr int max_branches = 2;

template <typename Value>
using PerBranch = std::array<Value, max_branches>;

struct Branches {
  bool conditional = true, unconditional = true;
  bool operator[](size_t branch) const { return branch == 0 ? conditional : unconditional; }
};

// Driving thread only.
class Guidance {
 public:
  // branches: 1 without guidance, else 2. policy: chooses branches to leave out; null: none.
  Guidance(int branches, std::unique_ptr<GuidancePolicy> policy)
      : branches_(static_cast<size_t>(branches)), policy_(std::move(policy)) {}

  size_t branches() const { return branches_; }
  // The guidance scale from now on. It does not change within a tick.
  void use_scale(double scale) { scale_ = scale; }
  // True if the branch has a part in the guided velocity.
  bool contributes(size_t branch) const;
  // The first branch that contributes.
  size_t first_contributing() const { return contributes(0) ? 0 : 1; }

  // The branches that run on a computed step. A branch that does not contribute is left out, which changes
  // nothing. A branch that the policy can rebuild is left out, too, which is an approximation. If the step's
  // keys and values become history (`writes_history`), all branches run. If a residual of each branch is kept
  // (`keeps_branches`), all that contribute run.
  Branches needed(const StepInfo& info, bool writes_history, bool keeps_branches);
  // u + scale (c - u), from the velocities [C, F, h, w] of the branches that contribute.
  at::Tensor mixed(const PerBranch<at::Tensor>& velocity) const;
  // The guided velocity of a computed step on which the branches `ran` ran. If both ran, the policy gets
  // their velocities; if one was left out, the policy rebuilds it.
  at::Tensor guided(const StepInfo& info, Branches ran, PerBranch<at::Tensor> velocity);

  void end_chunk(int64_t chunk);
  void reset();
  uint64_t state_bytes() const { return policy_ ? policy_->state_bytes() : 0; }

 private:
  size_t branches_;
  std::unique_ptr<GuidancePolicy> policy_;
  double scale_ = 1;
};

}  // namespace flowcache
