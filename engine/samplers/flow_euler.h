// SPDX-License-Identifier: LGPL-2.1-or-later
// Rectified flow, Euler: x' = x + v (sigma' - sigma), velocity = noise - data.
#pragma once

#include "samplers/sampler.h"

namespace flowcache {

// sigma of u in 0..1 (1 = noise): shift·u / (1 + (shift - 1)·u), the resolution shift of SD3 and Wan.
double shifted_sigma(double u, double shift);

// N steps from u = 1 to 0 at equal distances. timestep_scale: what the network multiplies sigma by (Wan:
// 1000).
std::unique_ptr<Sampler> make_flow_euler(int steps, double shift, double timestep_scale);

}  // namespace flowcache
