// SPDX-License-Identifier: LGPL-2.1-or-later
#include "samplers/unipc.h"

#include <c10/util/BFloat16.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace flowcache {
namespace {

constexpr int order = 2;

StepTable make_table(int steps, double shift) {
  // The training grid's largest sigma is 1 - 1/1000 in fp32.
  const double largest = static_cast<float>(1.0 - 1.0 / 1000.0);
  StepTable table;
  for (int i = 0; i < steps; ++i) {
    const double u = largest + (0.0 - largest) / steps * i;
    const double sigma = shift * u / (1 + (shift - 1) * u);
    table.sigma.push_back(static_cast<float>(sigma));
    table.timestep.push_back(std::trunc(1000.0 * sigma));
  }
  table.sigma.push_back(0);
  return table;
}

class UniPcState final : public SamplerState {
 public:
  UniPcState(const StepTable& table, bool overwrites) : table_(table), overwrites_(overwrites) {}

  at::Tensor step(const at::Tensor& x, const at::Tensor& velocity, int step, const NoiseSource&) override {
    const at::Tensor clean = x - sigma(step) * velocity;  // of the sample before its correction
    const at::Tensor corrected = known_ > 0 ? correct(clean, step, x.scalar_type()) : x;
    older_ = newer_;
    newer_ = clean;
    last_ = corrected;
    const bool first = known_ == 0;
    last_order_ = std::min({order, table_.steps() - step, known_ + 1});
    known_ = std::min(known_ + 1, order);
    const at::Tensor next = predict(corrected, step);
    if (overwrites_ && first) last_ = next;
    return next;
  }

 private:
  float sigma(int i) const { return static_cast<float>(table_.sigma[static_cast<size_t>(i)]); }
  // log(alpha / sigma), half the log of the signal-to-noise ratio; infinite at sigma = 0.
  float lambda(int i) const { return std::log(1 - sigma(i)) - std::log(sigma(i)); }

  // In the reference the solver's weights have the sample's type, so they are rounded to it.
  static float rounded(float weight, at::ScalarType type) {
    return type == at::kBFloat16 ? static_cast<float>(c10::BFloat16(weight)) : weight;
  }

  // Improves the sample that the last step predicted, now that the network has been run on it.
  at::Tensor correct(const at::Tensor& clean, int k, at::ScalarType type) const {
    const float alpha = 1 - sigma(k), h = lambda(k) - lambda(k - 1), hh = -h, b = std::expm1(hh);
    const at::Tensor base = (sigma(k) / sigma(k - 1)) * last_ - (alpha * b) * newer_;
    const at::Tensor newest = clean - newer_;
    if (last_order_ == 1) return (base - (alpha * b) * (0.5F * newest)).to(type);
    const float r = (lambda(k - 2) - lambda(k - 1)) / h;
    const float phi1 = b / hh - 1, b1 = phi1 / b, b2 = (phi1 / hh - 0.5F) * 2 / b;
    const float rho1 = (b1 - b2) / (1 - r), rho2 = b1 - rho1;
    const at::Tensor slope = (older_ - newer_) / r;
    return (base - (alpha * b) * (rounded(rho1, type) * slope + rounded(rho2, type) * newest)).to(type);
  }

  at::Tensor predict(const at::Tensor& x, int k) const {
    if (sigma(k + 1) == 0) return newer_.to(x.scalar_type());
    const float alpha = 1 - sigma(k + 1), h = lambda(k + 1) - lambda(k), b = std::expm1(-h);
    at::Tensor next = (sigma(k + 1) / sigma(k)) * x - (alpha * b) * newer_;
    if (last_order_ == 2) {
      const float r = (lambda(k - 1) - lambda(k)) / h;
      next = next - (alpha * b) * (0.5F * ((older_ - newer_) / r));
    }
    return next.to(x.scalar_type());
  }

  const StepTable& table_;
  const bool overwrites_;
  at::Tensor older_, newer_;  // clean latents predicted in the last two steps, fp32
  at::Tensor last_;           // the sample that the last prediction started from
  int last_order_ = 1, known_ = 0;
};

class UniPc final : public Sampler {
 public:
  UniPc(int steps, double shift, bool overwrites)
      : table_(make_table(steps, shift)), overwrites_(overwrites) {}
  const StepTable& table() const override { return table_; }
  std::unique_ptr<SamplerState> begin_chunk() const override {
    return std::make_unique<UniPcState>(table_, overwrites_);
  }

 private:
  StepTable table_;
  bool overwrites_;
};

}  // namespace

std::unique_ptr<Sampler> make_unipc(int steps, double shift, bool overwrites_first_sample) {
  if (steps < 1 || steps > 1000)
    throw Error(FC_ERROR_ARGUMENT, "steps=" + std::to_string(steps) + " is outside 1..1000");
  if (!(shift > 0))
    throw Error(FC_ERROR_ARGUMENT, "unipc: shift " + std::to_string(shift) + " must be greater than 0");
  return std::make_unique<UniPc>(steps, shift, overwrites_first_sample);
}

}  // namespace flowcache
