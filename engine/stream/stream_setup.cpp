// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/stream_setup.h"

#include <cmath>

#include "error.h"
#include "package/preflight.h"
#include "samplers/factory.h"

namespace flowcache {

namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

// The model's own default holds only for the policy that the model names.
double default_threshold(const nlohmann::json& cache, const ReuseChoice& choice) {
  const std::string own = cache.value("reuse", "none");
  const bool same = policy_name(own) == choice.entry->name;
  return same && cache.contains("threshold") ? cache.at("threshold").get<double>() : choice.entry->threshold;
}

// What a stream runs with that names no policy. One that is played as it is made is governed, as far as the
// sampler lets steps be left out.
std::string default_policy(const ModelPackage& package, const Sampler& sampler, bool live) {
  const std::string own = package.cache.value("reuse", "none");
  if (!live) return own;
  const std::string governed = sampler.renoises()         ? own
                               : sampler.steps_linearly() ? "auto"
                                                          : "auto:correct=0";
  return package.cache.value("live", governed);
}

int64_t budget_tokens(const LoadedModel& model, const StreamConfig& config, const ResolvedConfig& resolved) {
  if (config.kv_budget == 0)
    return model.package.cache.value("history_chunks", 3) * model.tokens_per_chunk(resolved.size);
  const uint64_t per_token = resolved.kv_geometry.bytes(1) * resolved.branches;
  return static_cast<int64_t>(config.kv_budget / per_token);
}

// Combinations that make no sense, each refused with its reason.
void check_composition(const ResolvedConfig& resolved, int layers) {
  const ReusePolicy& policy = *resolved.policy;
  const std::string name = "cache policy " + resolved.reuse.entry->name;
  const int always = policy.first_blocks() + policy.last_blocks();
  if (always >= layers)
    throw Error(FC_ERROR_ARGUMENT, name + ": " + std::to_string(always) +
                                       " blocks that always run leave nothing of a model of " +
                                       std::to_string(layers) +
                                       " to reuse: lower first_blocks or last_blocks");
  if (resolved.guidance_policy && resolved.branches == 1)
    throw Error(FC_ERROR_ARGUMENT, "cache " + name +
                                       ": what stands behind the plus saves guidance, and there is none: set "
                                       "guidance_scale to another value than 1");
  if (resolved.guidance_policy && keeps_branches(policy.kind()))
    throw Error(FC_ERROR_ARGUMENT,
                name +
                    " reuses the tokens of each guidance branch, so it cannot be combined with a "
                    "policy that leaves a branch out: take one that reuses velocities");
  if (resolved.offloads && !keeps_branches(policy.kind()) && policy.kind() != ReuseKind::attention_output)
    throw Error(FC_ERROR_ARGUMENT,
                name +
                    " keeps values of a latent's size, which are not worth moving: +offload "
                    "is for residual=token_residual, tail residuals and attention");
  if (policy.residuals_kept() > 1 && resolved.sampler->renoises())
    throw Error(FC_ERROR_ARGUMENT,
                name +
                    " extrapolates from step to step, but this sampler draws fresh noise between them: "
                    "take xchunk, or hold what is reused: order=0,correct=0; attention: weight=0");
  if (policy.corrects() && !resolved.sampler->steps_linearly())
    throw Error(FC_ERROR_ARGUMENT,
                name +
                    ": correct=1 needs a sampler whose steps are linear in the velocity (flow_euler): "
                    "add correct=0");
}

// The weights are already there; what a stream adds must still fit.
void check_buffer(const LoadedModel& model, const ResolvedConfig& resolved) {
  const KvGeometry& geometry = resolved.kv_geometry;
  const uint64_t branches = resolved.branches;
  check_memory(
      {{"keys and values of finished chunks (kv_budget)", branches * geometry.bytes(resolved.budget_tokens)},
       {"keys and values of " + std::to_string(geometry.window_chunks) + " chunks in flight",
        branches * geometry.bytes(geometry.window_chunks * geometry.tokens_per_chunk)}},
      model.memory_available(), model.device.str());
}

}  // namespace

double check_threshold(double threshold) {
  if (!(threshold >= 0 && threshold <= 10))
    throw Error(FC_ERROR_ARGUMENT, "cache_threshold=" + number(threshold) +
                                       " is outside 0..10; 0 never reuses, larger reuses more");
  return threshold;
}

double check_guidance(double guidance) {
  if (!(guidance >= 0 && guidance <= 50))
    throw Error(FC_ERROR_ARGUMENT,
                "guidance_scale=" + number(guidance) + " is outside 0..50; 1 switches guidance off");
  return guidance;
}

ResolvedConfig resolve(const LoadedModel& model, const StreamConfig& config) {
  const ModelPackage& package = model.package;
  ResolvedConfig resolved;
  resolved.size = picture_size(package, config.width, config.height);
  resolved.sampler = make_sampler(package.sampler, config.steps);
  const std::string cache = config.cache.empty()
                                ? default_policy(package, *resolved.sampler,
                                                 config.live && config.threshold < 0)  // ε is of the own one
                                : config.cache;
  resolved.reuse = choose_reuse(cache);
  if (policy_name(cache) == "auto" && resolved.reuse.options.word("by") != "steps") {
    const std::string by = resolved.reuse.options.word("by");
    if (resolved.reuse.options != choose_reuse("auto:by=" + by).options)
      throw Error(FC_ERROR_ARGUMENT,
                  "cache " + cache + ": with by=" + by +
                      " the deadline steers a threshold, and auto's other options are of the "
                      "number of steps: leave them out, or take by=steps");
    resolved.reuse = choose_reuse(by);
    resolved.steers_threshold = true;
  }
  resolved.guidance_policy = choose_guidance(cache).make();
  resolved.offloads = offloads(cache);
  resolved.kv = choose_kv(config.kv_cache.empty() ? package.cache.value("kv", "window") : config.kv_cache);
  resolved.default_threshold = default_threshold(package.cache, resolved.reuse);
  resolved.default_guidance = package.sampler.value("guidance_scale", 1.0);
  resolved.threshold = check_threshold(config.threshold >= 0 ? config.threshold : resolved.default_threshold);
  resolved.guidance = check_guidance(config.guidance >= 0 ? config.guidance : resolved.default_guidance);
  if (package.family == "magi" && resolved.guidance != 1)
    throw Error(
        FC_ERROR_ARGUMENT,
        "guidance_scale=" + number(resolved.guidance) +
            ": MAGI-1 is guided by the text_scales and prev_chunk_scales of its config (base models) or "
            "not at all (distilled): leave guidance_scale at 1");
  resolved.branches = resolved.guidance == 1 ? 1 : 2;

  const int steps = resolved.sampler->table().steps();
  const int own_lag = package.sampler.value("lag", 0);
  const int lag = own_lag != 0 && own_lag <= steps ? own_lag : steps;
  resolved.schedule = Schedule(steps, config.lag != 0 ? config.lag : lag);

  const TransformerShape& shape = model.transformer->shape();
  resolved.policy = resolved.reuse.make();
  check_composition(resolved, shape.layers);
  resolved.kv_geometry = {shape.layers,
                          shape.kv_heads,
                          shape.head_dim,
                          model.tokens_per_frame(resolved.size),
                          model.tokens_per_chunk(resolved.size),
                          resolved.schedule.chunks_in_flight(),
                          model.compute,
                          model.device,
                          shape.time_frequencies};
  resolved.budget_tokens = budget_tokens(model, config, resolved);
  check_buffer(model, resolved);
  return resolved;
}

}  // namespace flowcache
