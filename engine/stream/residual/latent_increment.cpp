// SPDX-License-Identifier: LGPL-2.1-or-later
// ReuseKind::latent_increment: the latent's change in the last computed step is added again, as in
// FlowCache's code for MAGI-1.
#include "stream/step.h"

namespace flowcache {
namespace {

class LatentIncrement final : public Residual {
 public:
  void capture_latent(const StepRunner& runner, Step& step, const at::Tensor& before) override {
    const StreamParts& parts = runner.parts();
    step.chunk->residuals[0].keep(step.chunk->latent - before, parts.policy->residuals_kept(),
                                  parts.lane.get());
  }
  void apply(const StepRunner& runner, Step& step) override {
    const std::vector<double> factors = runner.parts().policy->prediction(step.question.info);
    step.chunk->latent = step.chunk->latent + step.chunk->residuals[0].combined(factors);
  }
};

}  // namespace

std::unique_ptr<Residual> latent_increment_residual() {
  return std::make_unique<LatentIncrement>();
}

}  // namespace flowcache
