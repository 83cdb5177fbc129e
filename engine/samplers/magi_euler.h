// SPDX-License-Identifier: LGPL-2.1-or-later
// MAGI-1's integrator: x' = x + v (t' - t) on its own time grid, with v towards clean.
#pragma once

#include "samplers/magi_timesteps.h"
#include "samplers/sampler.h"

namespace flowcache {

// The table's timestep and sigma are 1 - t (1 noise, 0 clean). Throws FC_ERROR_ARGUMENT as
// magi_timesteps().
std::unique_ptr<Sampler> make_magi_euler(int steps, const MagiTimeConfig& config = {});

}  // namespace flowcache
