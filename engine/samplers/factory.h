// SPDX-License-Identifier: LGPL-2.1-or-later
// model.json's "sampler" section -> a Sampler.
#pragma once

#include <nlohmann/json.hpp>

#include "samplers/sampler.h"

namespace flowcache {

// Makes the sampler that the section's "kind" names, from these fields (defaults in brackets):
//   flow_euler  steps (24), shift (1), timestep_scale (1000)
//   few_step    denoising_step_list, timestep_shift, warp_denoising_step (those of FewStepConfig);
//               denoising_step_list_first_chunk: make_first_sampler()
//   unipc       steps (50), shift (1), overwrites_first_sample (false)
//   magi        steps (64), shift (3), shortcut ("8,16,16")
// steps: how many; 0 takes the section's. Throws FC_ERROR_MODEL for an unknown kind, FC_ERROR_ARGUMENT for
// steps outside 1..1000 or a number of steps that a few-step model was not distilled for.
std::unique_ptr<Sampler> make_sampler(const nlohmann::json& section, int steps);

// The sampler of chunk 0 if the section's denoising_step_list_first_chunk gives it steps of its own, as Causal-Forcing++ does;
// null: chunk 0 takes those of all others. Throws FC_ERROR_MODEL if the section's kind is not few_step.
std::unique_ptr<Sampler> make_first_sampler(const nlohmann::json& section);

}  // namespace flowcache
