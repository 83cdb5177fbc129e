// SPDX-License-Identifier: LGPL-2.1-or-later
// Prediction. A reused step applies what is extrapolated from the last computed residuals, instead of the
// newest one. This is TaylorSeer (arXiv 2503.06923). With `correct`, the predictor-corrector idea of
// multistep solvers is added: after the network has run again, the reused steps before it are integrated
// again, along the line between the two computed velocities. It takes no time of the network. A chunk keeps
// `order` more residuals, and with `correct` one more.
#pragma once

#include "cache/registry.h"

namespace flowcache {

struct PredictorConfig {
  int order = 0;  // 0 applies the newest residual, 1 extrapolates linearly, 2 quadratically
  enum class Along { sigma, step } along = Along::sigma;
  double gain = 1;       // factor of the difference between the extrapolated and the newest residual
  bool correct = false;  // only for velocities and Euler integration
};

// Factors for the values at `points` that extrapolate to `at`. The points are distinct, newest first. The
// result is Taylor's series with backward differences, of the highest order up to `order` that the number of
// points allows.
std::vector<double> taylor_weights(std::span<const double> points, double at, int order);

// Appends the options order, along, gain and correct, with these defaults, to a policy's own.
std::vector<OptionSpec> with_prediction(std::vector<OptionSpec> options, int order = 0, int correct = 0);
// Adds prediction to `policy` as the options say. Returns it unchanged if order and correct are 0. Throws
// FC_ERROR_ARGUMENT if correct is 1 and the policy's residual is not the velocity.
std::unique_ptr<ReusePolicy> predicted(std::unique_ptr<ReusePolicy> policy, const Options& options);
std::unique_ptr<ReusePolicy> predicted(std::unique_ptr<ReusePolicy> policy, const PredictorConfig& config);

}  // namespace flowcache
