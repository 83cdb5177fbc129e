// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/guidance.h"

namespace flowcache {

bool Guidance::contributes(size_t branch) const {
  if (branches_ == 1 || scale_ == 1) return branch == 0;
  return scale_ != 0 || branch == 1;
}

Branches Guidance::needed(const StepInfo& info, bool writes_history, bool keeps_branches) {
  if (branches_ == 1) return {true, false};
  if (writes_history) return {};
  if (!contributes(0) || !contributes(1) || keeps_branches) return {contributes(0), contributes(1)};
  if (policy_ && !info.must_compute && policy_->skips_unconditional(info)) return {true, false};
  return {};
}

at::Tensor Guidance::mixed(const PerBranch<at::Tensor>& velocity) const {
  if (!contributes(1)) return velocity[0];
  if (!contributes(0)) return velocity[1];
  return velocity[1] + scale_ * (velocity[0] - velocity[1]);
}

at::Tensor Guidance::guided(const StepInfo& info, Branches ran, PerBranch<at::Tensor> velocity) {
  const bool both = contributes(0) && contributes(1);
  if (both && !ran.unconditional)
    velocity[1] = policy_->unconditional(info, velocity[0]);
  else if (both && policy_)
    policy_->computed(info, velocity[0], velocity[1]);
  return mixed(velocity);
}

void Guidance::end_chunk(int64_t chunk) {
  if (policy_) policy_->end_chunk(chunk);
}

void Guidance::reset() {
  if (policy_) policy_->reset();
}

}  // namespace flowcache
