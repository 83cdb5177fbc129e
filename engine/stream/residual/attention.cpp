// SPDX-License-Identifier: LGPL-2.1-or-later
// ReuseKind::attention_output: the output of every block's self-attention is kept and used again; the rest of
// the network runs (FasterCache, arXiv 2410.19355).
#include "stream/step.h"

namespace flowcache {
namespace {

class AttentionResidual final : public Residual {
 public:
  bool worth_moving() const override { return true; }
  // The kept outputs attended another context, so nothing can be extrapolated from them to the next output.
  bool tied_to_context() const override { return true; }
  void branch_left_out(Step& step, size_t branch) override { step.chunk->attention[branch].clear(); }
  std::optional<AttentionPass> attention(const StepRunner& runner, Step& step, size_t branch) override {
    const StreamParts& parts = runner.parts();
    std::vector<double> factors;  // empty on a computed step: nothing is recalled
    if (step.reuses()) factors = parts.policy->prediction(step.question.info);
    return AttentionPass(step.chunk->attention[branch], std::move(factors), parts.policy->residuals_kept(),
                         parts.lane.get());
  }
  void apply(const StepRunner& runner, Step& step) override {
    runner.integrate(step, runner.run_network(step));
  }
};

}  // namespace

std::unique_ptr<Residual> attention_residual() {
  return std::make_unique<AttentionResidual>();
}

}  // namespace flowcache
