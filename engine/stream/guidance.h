// SPDX-License-Identifier: LGPL-2.1-or-later
// Classifier-free guidance as branches of a step: which of them run, and how their velocities become one.
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
  // branches: 1 without guidance, else 2. policy: null, or leaves branches out.
  Guidance(int branches, std::unique_ptr<GuidancePolicy> policy)
      : branches_(static_cast<size_t>(branches)), policy_(std::move(policy)) {}

  size_t branches() const { return branches_; }
  // The scale of all steps from now on: constant within a tick.
  void use_scale(double scale) { scale_ = scale; }
  // Does the branch count in the guided velocity?
  bool contributes(size_t branch) const;
  // The first branch that does.
  size_t first_contributing() const { return contributes(0) ? 0 : 1; }

  // The branches that run on a computed step. One without a share in the sum is left out, exactly; one that the policy
  // can rebuild, approximately. Where keys and values become history (`writes_history`) every branch runs, and where a
  // residual of each branch is kept (`keeps_branches`), all that contribute.
  Branches needed(const StepInfo& info, bool writes_history, bool keeps_branches);
  // u + scale (c - u) of the velocities [C, F, h, w] of the branches that contribute.
  at::Tensor mixed(const PerBranch<at::Tensor>& velocity) const;
  // The same of a computed step on which `ran` ran; tells the policy, or asks it for the branch that was left out.
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
