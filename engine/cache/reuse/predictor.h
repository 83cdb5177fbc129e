// SPDX-License-Identifier: LGPL-2.1-or-later
// Prediction beside a decision: what a reused step applies is extrapolated from the residuals computed
// before, instead of held. TaylorSeer (arXiv 2503.06923) and, with `correct`, the predictor-corrector idea of
// multistep solvers: once the network has run again, the steps in between are integrated anew along the line
// between the two computations. Costs no network time and `order` more residuals a chunk.
#pragma once

#include "cache/registry.h"

namespace flowcache {

struct PredictorConfig {
  int order = 0;  // 0 holds, 1 is linear, 2 quadratic
  enum class Along { sigma, step } along = Along::sigma;
  double gain = 1;       // of what is added to holding
  bool correct = false;  // velocity and Euler integration only
};

// Factors for the values at `points` (newest first, distinct) that extrapolate to `at`: Taylor's series with
// backward differences, of the highest order up to `order` that the points allow.
std::vector<double> taylor_weights(std::span<const double> points, double at, int order);

// The options order, along, gain and correct, to append to a policy's own, with these defaults.
std::vector<OptionSpec> with_prediction(std::vector<OptionSpec> options, int order = 0, int correct = 0);
// Wraps `policy` as the options say; returns it unchanged if they ask for holding. Throws FC_ERROR_ARGUMENT
// for correct=1 with another residual than the velocity.
std::unique_ptr<ReusePolicy> predicted(std::unique_ptr<ReusePolicy> policy, const Options& options);
std::unique_ptr<ReusePolicy> predicted(std::unique_ptr<ReusePolicy> policy, const PredictorConfig& config);

}  // namespace flowcache
