// SPDX-License-Identifier: LGPL-2.1-or-later
// The few-step loop of CausVid (arXiv 2412.07772) and Self-Forcing (arXiv 2506.08009): each step predicts the
// clean latent and mixes it with fresh noise to the next noise level. The last step returns the prediction.
#pragma once

#include "samplers/sampler.h"

namespace flowcache {

struct FewStepConfig {
  std::vector<int> denoising_steps = {1000, 750, 500, 250};  // 1..1000, descending; 1000 is noise
  double shift = 5.0;
  bool warp = true;  // true: a value is a place in the shifted table; false: it is the timestep itself
};

// The 1000 noise levels that the distilled models were trained on, in fp32, descending: sigma in 0..1 and
// timestep = 1000 sigma. shift: as in shifted_sigma().
struct TrainingTable {
  std::vector<float> sigma, timestep;
};
TrainingTable few_step_training_table(double shift);

// Throws FC_ERROR_ARGUMENT if denoising_steps is empty, not descending or outside 1..1000.
std::unique_ptr<Sampler> make_few_step(const FewStepConfig& config);

}  // namespace flowcache
