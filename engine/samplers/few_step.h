// SPDX-License-Identifier: LGPL-2.1-or-later
// The few-step loop of Self-Forcing and CausVid: predict the clean latent, then noise it again to the next
// level.
#pragma once

#include "samplers/sampler.h"

namespace flowcache {

struct FewStepConfig {
  std::vector<int> denoising_steps = {1000, 750, 500, 250};  // of 1000, descending
  double shift = 5.0;
  bool warp = true;  // look the steps up in the shifted table instead of taking them as timesteps
};

// The 1000-entry table that the distilled models were trained on: sigmas and timesteps 1000·sigma,
// descending, fp32.
struct TrainingTable {
  std::vector<float> sigma, timestep;
};
TrainingTable few_step_training_table(double shift);

// Throws FC_ERROR_ARGUMENT if denoising_steps is empty, not descending or outside 1..1000.
std::unique_ptr<Sampler> make_few_step(const FewStepConfig& config);

}  // namespace flowcache
