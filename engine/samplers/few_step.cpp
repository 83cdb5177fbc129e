// SPDX-License-Identifier: LGPL-2.1-or-later
#include "samplers/few_step.h"

#include <cmath>

#include "base/error.h"
#include "samplers/flow_euler.h"

namespace flowcache {

TrainingTable few_step_training_table(double shift) {
  TrainingTable table;
  // linspace(1, 0, 1001) without its last entry, in fp32, as in the published scheduler.
  const at::Tensor u = at::linspace(1.0, 0.0, 1001, at::kFloat).slice(0, 0, 1000).contiguous();
  const at::Tensor sigma = (shift * u / (1 + (shift - 1) * u)).contiguous();
  const at::Tensor timestep = (sigma * 1000).contiguous();
  table.sigma.assign(sigma.data_ptr<float>(), sigma.data_ptr<float>() + 1000);
  table.timestep.assign(timestep.data_ptr<float>(), timestep.data_ptr<float>() + 1000);
  return table;
}

namespace {

class FewStepState final : public SamplerState {
 public:
  explicit FewStepState(const StepTable& table) : table_(table) {}

  at::Tensor step(const at::Tensor& x, const at::Tensor& velocity, int step,
                  const NoiseSource& noise) override {
    // In double, as in the published code: where sigma is near 1, both terms are large.
    const at::Tensor x0 =
        (x.to(at::kDouble) - table_.sigma[step] * velocity.to(at::kDouble)).to(x.scalar_type());
    if (step + 1 == table_.steps()) return x0;
    const double next = table_.sigma[step + 1];
    return (1.0 - next) * x0 + next * noise();
  }

 private:
  const StepTable& table_;
};

class FewStep final : public Sampler {
 public:
  explicit FewStep(const FewStepConfig& config) {
    if (config.denoising_steps.empty())
      throw Error(FC_ERROR_ARGUMENT, "few_step: denoising_steps is empty; give 1 to 1000 values");
    const TrainingTable training = few_step_training_table(config.shift);
    int previous = 1001;
    for (const int value : config.denoising_steps) {
      if (value < 1 || value > 1000 || value >= previous)
        throw Error(FC_ERROR_ARGUMENT, "few_step: denoising step " + std::to_string(value) +
                                           " is not in 1..1000 and below the one before it");
      previous = value;
      table_.timestep.push_back(config.warp ? training.timestep[1000 - value] : static_cast<double>(value));
      table_.sigma.push_back(nearest_sigma(training, table_.timestep.back()));
    }
    table_.sigma.push_back(0.0);
  }
  const StepTable& table() const override { return table_; }
  std::unique_ptr<SamplerState> begin_chunk() const override {
    return std::make_unique<FewStepState>(table_);
  }
  bool renoises() const override { return true; }

 private:
  static double nearest_sigma(const TrainingTable& training, double timestep) {
    size_t best = 0;
    for (size_t i = 1; i < training.timestep.size(); ++i)
      if (std::abs(training.timestep[i] - timestep) < std::abs(training.timestep[best] - timestep)) best = i;
    return training.sigma[best];
  }

  StepTable table_;
};

}  // namespace

std::unique_ptr<Sampler> make_few_step(const FewStepConfig& config) {
  return std::make_unique<FewStep>(config);
}

}  // namespace flowcache
