// SPDX-License-Identifier: LGPL-2.1-or-later
// A residual is what computed steps leave for reused ones. There is one class for each kind; it knows what to
// keep and how to apply it. A new kind is a value of ReuseKind, a file in this folder and a line in
// make_residual().
#pragma once

#include <memory>
#include <optional>

#include "cache/reuse/reuse_policy.h"
#include "stream/residual/kept.h"

namespace flowcache {

struct Step;
class StepRunner;

// Objects have no state of their own. What is kept is stored in the chunk, or in the stream for policies that
// reuse across chunks. The capture functions are called while a computed step runs. Driving thread only.
class Residual {
 public:
  virtual ~Residual() = default;

  // True if there is a residual for each guidance branch, false if there is one for the guided velocity.
  virtual bool of_each_branch() const { return false; }
  // True if a residual is so much larger than a latent that "+offload" is worthwhile.
  virtual bool worth_moving() const { return of_each_branch(); }
  // True if a residual is no longer valid when the chunk's context changes.
  virtual bool tied_to_context() const { return false; }
  // The number of blocks at the end that run on a reused step, too.
  virtual int last_blocks() const { return 0; }

  // Gets the tokens [L, dim] of a branch, after all blocks except the last_blocks().
  virtual void capture_tokens(const StepRunner&, Step&, size_t /*branch*/, const at::Tensor& /*tokens*/) {}
  // Gets the guided velocity [C, F, h, w], before it moves the latent.
  virtual void capture_velocity(const StepRunner&, Step&, const at::Tensor& /*velocity*/) {}
  // Gets the latent [C, F, h, w] from before the step; the chunk already has the moved one.
  virtual void capture_latent(const StepRunner&, Step&, const at::Tensor& /*before*/) {}
  // This computed step does not run the branch, so the kept residual of the branch becomes too old.
  virtual void branch_left_out(Step&, size_t /*branch*/) {}
  // How a pass through the blocks of a branch keeps or recalls attention outputs; empty: every block computes
  // its own.
  virtual std::optional<AttentionPass> attention(const StepRunner&, Step&, size_t /*branch*/) { return {}; }

  // Runs a reused step: moves the chunk's latent.
  virtual void apply(const StepRunner&, Step&) = 0;
};

// The residual of the policy's kind.
std::unique_ptr<Residual> make_residual(const ReusePolicy& policy);
// The residual that decisions with `tail` apply; null unless policy.keeps_tail().
std::unique_ptr<Residual> make_tail(const ReusePolicy& policy);

// ---- one for each kind
std::unique_ptr<Residual> velocity_residual();
std::unique_ptr<Residual> latent_increment_residual();
std::unique_ptr<Residual> output_delta_residual();
std::unique_ptr<Residual> token_residual();
std::unique_ptr<Residual> tail_residual(int last_blocks);
std::unique_ptr<Residual> attention_residual();

}  // namespace flowcache
