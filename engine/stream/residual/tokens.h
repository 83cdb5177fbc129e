// SPDX-License-Identifier: LGPL-2.1-or-later
// Common to token and tail residuals: a difference of tokens for each branch, which a reused step adds again.
#pragma once

#include "stream/step.h"

namespace flowcache {

class TokenDifference : public Residual {
 public:
  bool of_each_branch() const override { return true; }
  void capture_tokens(const StepRunner& runner, Step& step, size_t branch, const at::Tensor& tokens) override;
  void apply(const StepRunner& runner, Step& step) override;

 protected:
  // The tokens that the difference is taken from.
  virtual const at::Tensor& from(const StepRunner& runner, const Step& step, size_t branch) const = 0;
  // keep() stores a difference for later steps; kept() gives the one to add, combined as the policy says.
  virtual void keep(const StepRunner& runner, Step& step, size_t branch, const at::Tensor& difference) const;
  virtual at::Tensor kept(const StepRunner& runner, Step& step, size_t branch) const;
};

}  // namespace flowcache
