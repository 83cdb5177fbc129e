// SPDX-License-Identifier: LGPL-2.1-or-later
// UniPC (arXiv 2302.04867) for rectified flow, as Wan 2.1 and SkyReels-V2 run it: order 2, B(h) = e^h - 1,
// predicts the clean latent, corrects every step but the first, and falls back to order 1 at both ends.
#pragma once

#include "samplers/sampler.h"

namespace flowcache {

// N steps: sigma from 0.999 to 0 at equal distances, then shifted; timestep = 1000 sigma, truncated to an
// integer as the reference does. sigma is rounded to fp32, which the solver computes in.
//
// step() accepts a latent in bf16 too: it then rounds where the reference does (sigma·x, the solver's weights
// and the result), with the velocity in fp32. The latent's type must not change within a chunk. A
// latent that was given to step() must not be written to before the next step: the corrector returns to it.
//
// overwrites_first_sample: as the published SkyReels-V2 pipeline, which writes the second sample over the first while
// the solver still holds it: the first correction then starts from the second.
std::unique_ptr<Sampler> make_unipc(int steps, double shift, bool overwrites_first_sample = false);

}  // namespace flowcache
