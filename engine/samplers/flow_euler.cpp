// SPDX-License-Identifier: LGPL-2.1-or-later
#include "samplers/flow_euler.h"

namespace flowcache {

double shifted_sigma(double u, double shift) {
  return shift * u / (1.0 + (shift - 1.0) * u);
}

namespace {

class EulerState final : public SamplerState {
 public:
  explicit EulerState(const StepTable& table) : table_(table) {}
  at::Tensor step(const at::Tensor& x, const at::Tensor& velocity, int step, const NoiseSource&) override {
    return at::add(x, velocity, table_.sigma[step + 1] - table_.sigma[step]);
  }

 private:
  const StepTable& table_;
};

class FlowEuler final : public Sampler {
 public:
  FlowEuler(int steps, double shift, double timestep_scale) {
    for (int i = 0; i <= steps; ++i) {
      table_.sigma.push_back(shifted_sigma(1.0 - static_cast<double>(i) / steps, shift));
      if (i < steps) table_.timestep.push_back(table_.sigma[i] * timestep_scale);
    }
  }
  const StepTable& table() const override { return table_; }
  std::unique_ptr<SamplerState> begin_chunk() const override { return std::make_unique<EulerState>(table_); }
  bool steps_linearly() const override { return true; }

 private:
  StepTable table_;
};

}  // namespace

std::unique_ptr<Sampler> make_flow_euler(int steps, double shift, double timestep_scale) {
  return std::make_unique<FlowEuler>(steps, shift, timestep_scale);
}

}  // namespace flowcache
