// SPDX-License-Identifier: LGPL-2.1-or-later
// model.json's "sampler" section -> a Sampler.
#pragma once

#include <nlohmann/json.hpp>

#include "samplers/sampler.h"

namespace flowcache {

// section: {kind: "flow_euler" | "few_step" | "unipc" | "magi", steps, shift, timestep_scale |
// denoising_step_list, timestep_shift, …}. steps: 0 takes the section's. Throws FC_ERROR_MODEL for an unknown
// kind, FC_ERROR_ARGUMENT for steps outside 1..1000 or a number of steps that a distilled model was not
// trained for.
std::unique_ptr<Sampler> make_sampler(const nlohmann::json& section, int steps);

}  // namespace flowcache
