// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/parts.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/log.h"
#include "base/words.h"
#include "cache/registry.h"
#include "families/family.h"
#include "families/preflight.h"
#include "samplers/factory.h"
#include "stream/prompts.h"

namespace flowcache {

namespace {

// The default ε. The model's own value is used only with the policy that the model names.
double default_threshold(const nlohmann::json& cache, const ReuseChoice& choice) {
  const std::string own = cache.value("reuse", "none");
  const bool same = policy_name(resolve_reuse(own)) == choice.entry->name;
  return same && cache.contains("threshold") ? cache.at("threshold").get<double>() : choice.entry->threshold;
}

// The policy of a stream whose settings name none. A live stream is governed, if the sampler allows steps to
// be reused.
std::string default_policy(const ModelPackage& package, const Sampler& sampler, bool live) {
  const std::string own = package.cache.value("reuse", "none");
  if (!live) return own;
  const std::string governed = sampler.renoises()         ? own
                               : sampler.steps_linearly() ? "auto"
                                                          : "auto:correct=0";
  return package.cache.value("live", governed);
}

// The policies that a stream's settings name.
struct Choice {
  ReuseChoice reuse;
  KvChoice kv;
  bool offloads = false;  // residuals wait in host memory
};

// Logs what another name of a policy stands for.
void report_alias(const char* what, const std::string& given, const std::string& meant) {
  if (given != meant) log(FC_LOG_INFO, std::string(what) + "=" + given + " is " + meant);
}

Choice choose(const std::string& cache, const std::string& kv_cache, StreamParts& parts) {
  Choice choice;
  choice.reuse = choose_reuse(cache);
  const std::string by = policy_name(cache) == "auto" ? choice.reuse.options.word("by") : "steps";
  if (by != "steps") {
    if (choice.reuse.options != choose_reuse("auto:by=" + by).options)
      throw Error(FC_ERROR_ARGUMENT,
                  "cache " + cache + ": with by=" + by +
                      " the deadline steers a threshold, and auto's other options apply to the "
                      "number of steps: leave them out, or use by=steps");
    choice.reuse = choose_reuse(by);
    parts.steers_threshold = true;
  }
  choice.offloads = offloads(cache);
  choice.kv = choose_kv(kv_cache);
  return choice;
}

// Refuses combinations that cannot work, with the reason.
void check_composition(const StreamParts& parts, const Choice& choice, const GuidancePolicy* guidance,
                       int branches) {
  const ReusePolicy& policy = *parts.policy;
  const int layers = parts.model->transformer->shape().layers;
  const std::string name = "cache policy " + choice.reuse.entry->name;
  const int always = policy.first_blocks() + policy.last_blocks();
  if (always >= layers)
    throw Error(FC_ERROR_ARGUMENT, name + ": " + std::to_string(always) +
                                       " blocks that always run leave nothing of a model of " +
                                       std::to_string(layers) +
                                       " blocks to reuse: lower first_blocks or last_blocks");
  if (guidance && branches == 1)
    throw Error(FC_ERROR_ARGUMENT, name +
                                       ": the policy after the plus leaves out guidance branches, but this "
                                       "stream has no guidance: set guidance_scale to another value than 1");
  if (guidance && parts.residual->of_each_branch())
    throw Error(FC_ERROR_ARGUMENT,
                name +
                    " reuses the tokens of each guidance branch, so it cannot be combined with a "
                    "policy that leaves a branch out: use one that reuses velocities");
  if (choice.offloads && !parts.residual->worth_moving())
    throw Error(FC_ERROR_ARGUMENT,
                name +
                    " keeps values of a latent's size, which are not worth moving: +offload "
                    "is for residual=token_residual, tail residuals and attention");
  if (policy.residuals_kept() > 1 && parts.sampler->renoises())
    throw Error(FC_ERROR_ARGUMENT,
                name +
                    " extrapolates from step to step, but this sampler draws fresh noise between them: "
                    "use xchunk, or do not extrapolate: order=0,correct=0; attention: weight=0");
  if (policy.corrects() && !parts.sampler->steps_linearly())
    throw Error(FC_ERROR_ARGUMENT,
                name +
                    ": correct=1 needs a sampler whose steps are linear in the velocity (flow_euler): "
                    "add correct=0");
}

// Checks that the KV buffers fit into the memory that is left beside the weights.
void check_buffer(const LoadedModel& model, const KvGeometry& geometry, int64_t budget_tokens,
                  const KvPolicy& policy, uint64_t branches) {
  const KvNeeds needs = kv_needs(geometry, budget_tokens, policy);
  check_memory({{"keys and values of finished chunks (kv_budget)", branches * needs.history},
                {"keys and values of " + std::to_string(geometry.window_chunks) + " chunks in flight",
                 branches * needs.in_flight},
                {"what they need beside them", branches * needs.scratch}},
               model.memory_available(), model.device.str());
}

// One KV cache for each branch. Throws RanksChanged if they change meanwhile.
std::vector<std::unique_ptr<KvStore>> make_caches_once(const StreamParts& parts, uint64_t kv_budget,
                                                       const KvChoice& choice, const std::string& policy,
                                                       int branches) {
  const LoadedModel& model = *parts.model;
  const uint64_t generation = model.ranks ? model.ranks->generation() : 0;
  const TransformerShape& shape = model.transformer->shape();
  // While a policy chooses, no forward pass runs. So it may use part of what the preflight has planned for that: ten rows of
  // the hidden width for each token.
  const auto scratch = static_cast<uint64_t>(4 * 10 * model.tokens_per_chunk(parts.size) * shape.dim);
  KvGeometry geometry = {shape.layers,
                         shape.kv_heads,
                         shape.head_dim,
                         model.tokens_per_frame(parts.size),
                         model.tokens_per_chunk(parts.size),
                         parts.schedule.chunks_in_flight(),
                         model.compute,
                         model.device,
                         shape.time_frequencies,
                         shape.heads,
                         model.kv_precision,
                         scratch,
                         model.package.cache.value("trained_frames", int64_t{0})};
  const KvGeometry whole = geometry;
  const auto part = [&](int branch) {
    return model.ranks ? model.ranks->share(whole, branch, branches) : whole;
  };
  geometry = part(0);
  // The budget is that of each process.
  const int kept = model.ranks ? model.ranks->branches_kept(branches) : branches;
  const int64_t budget_tokens =
      kv_budget == 0 ? model.package.cache.value("history_chunks", 3) * geometry.tokens_per_chunk
                     : static_cast<int64_t>(kv_budget / (geometry.bytes(1) * kept));
  check_buffer(model, geometry, budget_tokens, *choice.make(), kept);
  std::vector<std::unique_ptr<KvStore>> caches;
  for (int branch = 0; branch < branches; ++branch) {
    caches.push_back(std::make_unique<KvStore>(part(branch), budget_tokens, choice.make()));
    if (model.ranks)
      caches.back()->follow(
          model.ranks->follow(generation, part(branch), budget_tokens, policy, branch, branches));
  }
  return caches;
}

std::vector<std::unique_ptr<KvStore>> make_caches(const StreamParts& parts, uint64_t kv_budget,
                                                  const KvChoice& choice, const std::string& policy,
                                                  int branches) {
  while (true) {
    try {
      return make_caches_once(parts, kv_budget, choice, policy, branches);
    } catch (const RanksChanged&) {  // there are fewer now
    }
  }
}

Schedule make_schedule(const nlohmann::json& sampler, int steps, int lag, int first_steps) {
  const int own = sampler.value("lag", 0);
  return Schedule(steps, lag != 0 ? lag : own != 0 && own <= steps ? own : steps, first_steps);
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

std::vector<int64_t> StreamParts::latent_shape() const {
  const ModelPackage& package = model->package;
  return {package.latent_channels, package.latent_frames_per_chunk, size.latent_height, size.latent_width};
}

int64_t StreamParts::first_frame(int64_t chunk) const {
  return (chunk + (initial_frames ? initial_frames->whole_chunks() : 0)) *
         model->package.latent_frames_per_chunk;
}

StreamParts assemble(std::shared_ptr<const LoadedModel> model, const StreamConfig& config) {
  const ModelPackage& package = model->package;
  check_prompt(config.prompt);  // first, because the rest takes long
  StreamParts parts;
  parts.model = std::move(model);
  parts.network = network_of(parts.model);
  parts.seed = config.seed;
  parts.size = picture_size(package, config.width, config.height);
  parts.sampler = make_sampler(package.sampler, config.steps);
  parts.first_sampler = make_first_sampler(package.sampler);
  // A given ε belongs to the model's own policy, so it rules out the policy for live streams.
  const std::string cache = config.cache.empty()
                                ? default_policy(package, *parts.sampler, config.live && config.threshold < 0)
                                : config.cache;
  const std::string meant = resolve_reuse(cache),
                    kv = resolve_kv(config.kv_cache.empty() ? package.cache.value("kv", "window")
                                                            : config.kv_cache);
  report_alias("cache", cache, meant);
  if (!config.kv_cache.empty()) report_alias("kv_cache", config.kv_cache, kv);
  std::unique_ptr<GuidancePolicy> guidance_policy = choose_guidance(meant).make();
  const Choice choice = choose(meant, kv, parts);
  parts.default_threshold = default_threshold(package.cache, choice.reuse);
  parts.default_scale = package.sampler.value("guidance_scale", 1.0);
  parts.threshold = check_threshold(config.threshold >= 0 ? config.threshold : parts.default_threshold);
  parts.scale = check_guidance(config.guidance >= 0 ? config.guidance : parts.default_scale);
  family_of(package).check_guidance(parts.scale);
  const int branches = parts.scale == 1 ? 1 : max_branches;
  const int steps = parts.sampler->table().steps(), first_steps = parts.sampler_of(0).table().steps();
  parts.schedule = make_schedule(package.sampler, steps, config.lag, first_steps);
  parts.policy = choice.reuse.make();
  parts.residual = make_residual(*parts.policy);
  parts.tail = make_tail(*parts.policy);
  check_composition(parts, choice, guidance_policy.get(), branches);
  parts.make_kv = [budget = config.kv_budget, choice = choice.kv, kv, branches](const StreamParts& own) {
    return make_caches(own, budget, choice, kv, branches);
  };
  parts.kv = parts.make_kv(parts);
  parts.guidance = Guidance(branches, std::move(guidance_policy));
  if (config.graphs && parts.model->ranks)
    throw Error(
        FC_ERROR_ARGUMENT,
        "graphs=1: a network that runs on " + std::to_string(parts.model->ranks->count()) +
            " devices exchanges tokens within each block, which a CUDA graph cannot: leave graphs off");
  if (config.graphs) parts.graphs = BlockGraphs::make(*parts.model);
  if (choice.offloads) parts.lane = make_copy_lane(parts.model->device);
  parts.across.resize(parts.policy->across_chunks() ? std::max(steps, first_steps) : 0);
  parts.across_conditions.resize(parts.across.size());
  parts.clean_context = config.clean_context < 0 ? package.clean_context : config.clean_context == 1;
  if (config.initial_frames.defined())
    parts.initial_frames = InitialFrames::encode(*parts.model, parts.size, config.initial_frames, parts.seed);
  else if (config.initial_latents.defined())
    parts.initial_frames =
        std::make_unique<InitialFrames>(*parts.model, parts.size, config.initial_latents, parts.seed);
  return parts;
}

}  // namespace flowcache
