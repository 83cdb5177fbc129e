// SPDX-License-Identifier: LGPL-2.1-or-later
// UniPC (arXiv 2302.04867) for rectified flow, as Wan 2.1 and SkyReels-V2 run it: order 2 with
// B(h) = e^h - 1. The solver predicts the clean latent, corrects every step but the first, and uses order 1
// at both ends.
#pragma once

#include "samplers/sampler.h"

namespace flowcache {

// The noise levels run from 0.999 to 0 at equal distances and are then shifted (flow_euler.h). They are
// rounded to fp32, which the solver computes in. timestep = 1000 sigma, truncated to an integer, as in the
// reference.
//
// step() also takes a latent in bf16, with the velocity in fp32. It then rounds where the reference does:
// sigma * x, the solver's weights and the result. The latent's type must stay the same within a chunk. A
// latent that was given to step() must not be written to before the next step, because the corrector reads
// it again.
//
// overwrites_first_sample: repeats the published SkyReels-V2 pipeline, which writes the second sample over
// the first while the solver still holds the first. The first correction then starts from the second sample.
// Throws FC_ERROR_ARGUMENT for steps outside 1..1000 and for a shift that is not positive.
std::unique_ptr<Sampler> make_unipc(int steps, double shift, bool overwrites_first_sample = false);

}  // namespace flowcache
