// SPDX-License-Identifier: LGPL-2.1-or-later
// ReuseKind::velocity: the velocity of the last computed step, or one that is extrapolated from several.
#include "stream/step.h"

namespace flowcache {
namespace {

class VelocityResidual final : public Residual {
 public:
  void capture_velocity(const StepRunner& runner, Step& step, const at::Tensor& velocity) override {
    const StreamParts& parts = runner.parts();
    Residuals& kept = step.chunk->residuals[0];
    kept.keep(velocity, parts.policy->residuals_kept(), parts.lane.get());
    // Repairs the error of the policy's predictions since the last computed step.
    const std::vector<double> factors = parts.policy->correction(step.question.info);
    if (!factors.empty()) step.chunk->latent = step.chunk->latent + kept.combined(factors);
  }
  void apply(const StepRunner& runner, Step& step) override {
    const std::vector<double> factors = runner.parts().policy->prediction(step.question.info);
    runner.integrate(step, step.chunk->residuals[0].combined(factors));
  }
};

}  // namespace

std::unique_ptr<Residual> velocity_residual() {
  return std::make_unique<VelocityResidual>();
}

}  // namespace flowcache
