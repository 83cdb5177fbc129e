// SPDX-License-Identifier: LGPL-2.1-or-later
// MAGI-1's integrator (arXiv 2505.13211): x' = x + v (t' - t) on MAGI-1's own time grid. The velocity v
// points from noise to clean.
#pragma once

#include "samplers/magi_timesteps.h"
#include "samplers/sampler.h"

namespace flowcache {

// The table's timestep and sigma are both 1 - t, so that 1 is noise and 0 is clean as in every sampler.
// Throws FC_ERROR_ARGUMENT as magi_timesteps() does.
std::unique_ptr<Sampler> make_magi_euler(int steps, const MagiTimeConfig& config = {});

}  // namespace flowcache
