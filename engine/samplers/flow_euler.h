// SPDX-License-Identifier: LGPL-2.1-or-later
// Rectified flow, Euler: x' = x + v (sigma' - sigma), velocity = noise - data.
#pragma once

#include "samplers/sampler.h"

namespace flowcache {

// The noise level sigma for u in 0..1 (1 is pure noise): shift u / (1 + (shift - 1) u), the resolution shift
// of SD3 and Wan. shift 1 changes nothing.
double shifted_sigma(double u, double shift);

// `steps` steps from u = 1 to u = 0 at equal distances. The network's timestep is sigma * timestep_scale
// (Wan: 1000).
std::unique_ptr<Sampler> make_flow_euler(int steps, double shift, double timestep_scale);

}  // namespace flowcache
