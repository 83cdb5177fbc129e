// SPDX-License-Identifier: LGPL-2.1-or-later
#include "samplers/magi_euler.h"

namespace flowcache {
namespace {

class MagiEulerState final : public SamplerState {
 public:
  explicit MagiEulerState(const at::Tensor& t) : t_(t) {}
  at::Tensor step(const at::Tensor& x, const at::Tensor& velocity, int step, const NoiseSource&) override {
    // The difference is taken in fp32, as published.
    return x + velocity * (t_[step + 1] - t_[step]).item<float>();
  }

 private:
  const at::Tensor t_;
};

class MagiEuler final : public Sampler {
 public:
  MagiEuler(int steps, const MagiTimeConfig& config) : t_(magi_timesteps(steps, config).t) {
    for (int64_t i = 0; i <= steps; ++i) {
      const double t = t_[i].item<double>();
      table_.sigma.push_back(i == steps ? 0 : 1 - t);
      if (i < steps) table_.timestep.push_back(1 - t);  // exact: t is an fp32 number
    }
  }
  const StepTable& table() const override { return table_; }
  std::unique_ptr<SamplerState> begin_chunk() const override { return std::make_unique<MagiEulerState>(t_); }

 private:
  at::Tensor t_;
  StepTable table_;
};

}  // namespace

std::unique_ptr<Sampler> make_magi_euler(int steps, const MagiTimeConfig& config) {
  return std::make_unique<MagiEuler>(steps, config);
}

}  // namespace flowcache
