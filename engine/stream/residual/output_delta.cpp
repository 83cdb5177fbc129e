// SPDX-License-Identifier: LGPL-2.1-or-later
// ReuseKind::output_delta: velocity minus latent of the last computed step (EasyCache, arXiv 2507.02860).
#include "stream/step.h"

namespace flowcache {
namespace {

class OutputDelta final : public Residual {
 public:
  void capture_velocity(const StepRunner& runner, Step& step, const at::Tensor& velocity) override {
    const StreamParts& parts = runner.parts();
    step.chunk->residuals[0].keep(velocity - step.chunk->latent, parts.policy->residuals_kept(),
                                  parts.lane.get());
  }
  void apply(const StepRunner& runner, Step& step) override {
    const std::vector<double> factors = runner.parts().policy->prediction(step.question.info);
    runner.integrate(step, step.chunk->latent + step.chunk->residuals[0].combined(factors));
  }
};

}  // namespace

std::unique_ptr<Residual> output_delta_residual() {
  return std::make_unique<OutputDelta>();
}

}  // namespace flowcache
