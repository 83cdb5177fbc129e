// SPDX-License-Identifier: LGPL-2.1-or-later
#include "samplers/factory.h"

#include "base/error.h"
#include "samplers/few_step.h"
#include "samplers/flow_euler.h"
#include "samplers/magi_euler.h"
#include "samplers/unipc.h"

namespace flowcache {

namespace {

constexpr const char* first_list = "denoising_step_list_first_chunk";

FewStepConfig few_step_config(const nlohmann::json& section, const char* list) {
  FewStepConfig config;
  config.denoising_steps = section.value(list, config.denoising_steps);
  config.shift = section.value("timestep_shift", config.shift);
  config.warp = section.value("warp_denoising_step", config.warp);
  return config;
}

std::unique_ptr<Sampler> few_step(const nlohmann::json& section, int steps) {
  const FewStepConfig config = few_step_config(section, "denoising_step_list");
  const int trained = static_cast<int>(config.denoising_steps.size());
  if (steps != 0 && steps != trained)
    throw Error(FC_ERROR_ARGUMENT, "steps=" + std::to_string(steps) + ": this model was distilled for " +
                                       std::to_string(trained) + " steps; leave steps at 0 or " +
                                       std::to_string(trained));
  return make_few_step(config);
}

}  // namespace

std::unique_ptr<Sampler> make_sampler(const nlohmann::json& section, int steps) {
  const std::string kind = section.value("kind", "");
  if (kind == "few_step") return few_step(section, steps);
  if (kind != "flow_euler" && kind != "unipc" && kind != "magi")
    throw Error(FC_ERROR_MODEL, "model.json: sampler.kind is \"" + kind +
                                    "\"; known kinds are few_step, flow_euler, magi, unipc");
  const int count = steps != 0 ? steps
                               : section.value("steps", kind == "unipc"  ? 50
                                                        : kind == "magi" ? 64
                                                                         : 24);
  if (count < 1 || count > 1000)
    throw Error(FC_ERROR_ARGUMENT, "steps=" + std::to_string(count) + " is outside 1..1000");
  if (kind == "magi")
    return make_magi_euler(
        count, {.shift = section.value("shift", 3.0), .shortcut = section.value("shortcut", "8,16,16")});
  if (kind == "unipc")
    return make_unipc(count, section.value("shift", 1.0), section.value("overwrites_first_sample", false));
  return make_flow_euler(count, section.value("shift", 1.0), section.value("timestep_scale", 1000.0));
}

std::unique_ptr<Sampler> make_first_sampler(const nlohmann::json& section) {
  if (!section.contains(first_list)) return nullptr;
  if (const std::string kind = section.value("kind", ""); kind != "few_step")
    throw Error(FC_ERROR_MODEL, std::string("model.json: sampler.") + first_list +
                                    " is for few_step, but sampler.kind is \"" + kind + "\"; leave it out");
  return make_few_step(few_step_config(section, first_list));
}

}  // namespace flowcache
