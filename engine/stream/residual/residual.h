// SPDX-License-Identifier: LGPL-2.1-or-later
// What computed steps leave for reused ones, and how it is applied: one class for each kind of reuse. A new kind is a
// value of ReuseKind, a file here and a line in make_residual().
#pragma once

#include <memory>
#include <optional>

#include "cache/reuse/reuse_policy.h"
#include "stream/residual/kept.h"

namespace flowcache {

struct Step;
class StepRunner;

// No state of its own: what is kept lies in the chunk, or for policies that reuse across chunks in the stream. All
// captures come while a computed step runs. Driving thread only.
class Residual {
 public:
  virtual ~Residual() = default;

  // Is there a residual for each guidance branch, not one for the guided velocity?
  virtual bool of_each_branch() const { return false; }
  // Is it larger than a latent, so that it is worth moving to host memory and back?
  virtual bool worth_moving() const { return of_each_branch(); }
  // Does it hold only as long as what the chunk attends stays the same?
  virtual bool tied_to_context() const { return false; }
  // Blocks at the end that run on a reused step, too.
  virtual int last_blocks() const { return 0; }

  // Tokens [L, dim] of a branch behind all blocks but the last_blocks().
  virtual void capture_tokens(const StepRunner&, Step&, size_t /*branch*/, const at::Tensor& /*tokens*/) {}
  // The guided velocity [C, F, h, w], before it moves the latent.
  virtual void capture_velocity(const StepRunner&, Step&, const at::Tensor& /*velocity*/) {}
  // The latent [C, F, h, w] as it was before; the chunk has the moved one.
  virtual void capture_latent(const StepRunner&, Step&, const at::Tensor& /*before*/) {}
  // A branch that this computed step does not run: what it kept is now older than the chunk's last step.
  virtual void branch_left_out(Step&, size_t /*branch*/) {}
  // How the pass through a branch's blocks keeps or recalls attention; nothing: every block computes its own.
  virtual std::optional<AttentionPass> attention(const StepRunner&, Step&, size_t /*branch*/) { return {}; }

  // A reused step: moves the chunk's latent.
  virtual void apply(const StepRunner&, Step&) = 0;
};

// Of the policy's kind. policy: outlives it.
std::unique_ptr<Residual> make_residual(const ReusePolicy& policy);
// Beside a policy that keeps_tail(): what its decisions with `tail` apply.
std::unique_ptr<Residual> make_tail(const ReusePolicy& policy);

// ---- one line a kind
std::unique_ptr<Residual> velocity_residual();
std::unique_ptr<Residual> latent_increment_residual();
std::unique_ptr<Residual> output_delta_residual();
std::unique_ptr<Residual> token_residual();
std::unique_ptr<Residual> tail_residual(int last_blocks);
std::unique_ptr<Residual> attention_residual();

}  // namespace flowcache
