// SPDX-License-Identifier: LGPL-2.1-or-later
// skyreels-dit, skyreels-df-pipeline.
#include "cache/registry.h"
#include "case.h"
#include "families/skyreels/skyreels.h"
#include "samplers/unipc.h"
#include "skyreels_pipeline.h"
#include "stream_cases.h"

namespace golden {
namespace {

using namespace flowcache;
using nlohmann::json;

std::unique_ptr<Transformer> load(Case& one, int fps_id) {
  json config = one.config();
  config["fps"] = fps_id == 0 ? 16 : 24;
  return make_skyreels(config, one.weights(), one.precision(), one.device());
}

void transformer(Case& one) {
  for (const json& call : one.calls()) {
    const auto model = load(one, call.at("fps_id"));
    const auto condition = model->condition(one.tensor(call.at("text")));
    const std::vector<double> timesteps = call.at("timesteps_per_frame");
    OwnKeys own;
    const Embedded embedded = model->embed(one.tensor(call.at("latent")), timesteps, 0);
    const at::Tensor tokens =
        model->blocks(embedded, embedded.tokens, *condition, own, 0, model->shape().layers);
    one.compare(model->head(embedded, tokens), call.at("velocity"));
  }
}

SkyReelsRun read_run(const json& config) {
  SkyReelsRun run;
  run.steps = config.at("steps");
  run.lag = config.at("ar_step");
  run.frames_per_block = config.at("frames_per_chunk");
  run.blocks = config.at("chunks");
  run.guidance = config.at("guidance_scale");
  run.threshold = config.at("teacache_thresh");
  run.cache = config.at("cache");
  run.reuse = {.warmup = config.at("ret_steps"),
               .feature = Tap::modulation,
               .residual = ReuseKind::token_residual,
               .polynomial = config.at("coefficients_highest_power_first"),
               .unsafe = UnsafeDistance::parity};
  if (config.at("use_compress").get<bool>()) run.budget_blocks = config.at("budget_block");
  return run;
}

// The values of blocks, repeated for each frame of a block.
at::Tensor per_frame(const std::vector<int>& blocks, int frames) {
  return at::tensor(blocks, at::kInt).repeat_interleave(frames);
}

void generate(Case& one, const json& call) {
  const SkyReelsRun run = read_run(one.config());
  const auto model = load(one, one.config().at("fps_id"));
  const auto sampler = make_unipc(run.steps, one.config().at("shift"));
  const auto policy = choose_kv("flowcache:order=score,queries=chunk").make();
  const at::Tensor noise = one.tensor(call.at("noise"));
  const int64_t tokens = run.frames_per_block * model->shape().tokens_per_frame(noise.size(2), noise.size(3));
  std::vector<SkyReelsPipeline::Branch> branches;
  for (const char* text : {"text", "negative"})
    branches.push_back({model->condition(one.tensor(call.at(text))),
                        FlowCacheReuse(run.reuse),
                        SkyReelsMemory(model->shape().layers, tokens, run.budget_blocks, policy.get()),
                        {}});
  SkyReelsPipeline pipeline(*model, *sampler, run, std::move(branches), noise);

  std::vector<at::Tensor> timestep, update;
  at::Tensor decision = at::full({2 * pipeline.rows(), run.blocks}, -1, at::kInt);
  at::Tensor accumulator = at::zeros({2 * pipeline.rows(), run.blocks}, at::kDouble);
  for (int row = 0; row < pipeline.rows(); ++row) {
    const auto report = pipeline.step(row);
    timestep.push_back(per_frame(report.timestep, run.frames_per_block));
    update.push_back(per_frame(report.update, run.frames_per_block));
    for (int64_t i = 0; i < 2; ++i)
      for (const auto& [b, made] : report.decisions[static_cast<size_t>(i)]) {
        decision[2 * row + i][b] = made.action == Action::reuse ? 1 : 0;
        accumulator[2 * row + i][b] = made.accumulated;
      }
  }
  one.compare(at::stack(timestep), call.at("timestep"), {});
  one.compare(at::stack(update), call.at("update"), {});
  one.compare(decision, call.at("decision"), {});
  one.compare(accumulator, call.at("accumulator"));
  one.compare(pipeline.latents(), call.at("latents"));
  // The reference lists these events in the order in which they happened, with the branches in turn.
  const std::vector<std::string> names = call.at("kept");
  const size_t layers = static_cast<size_t>(model->shape().layers);
  size_t next[2] = {0, 0};
  for (size_t i = 0; i < names.size(); ++i) {
    const size_t branch = i / layers % 2;
    const auto& kept = pipeline.branch(branch).memory.kept();
    if (next[branch] >= kept.size())
      return one.fail("fewer compressions than " + std::to_string(names.size()));
    one.compare(kept[next[branch]++], names[i], {});
  }
  one.check(next[0] == pipeline.branch(0).memory.kept().size() &&
                next[1] == pipeline.branch(1).memory.kept().size(),
            "more compressions than " + std::to_string(names.size()));
}

void pipeline(Case& one) {
  for (const json& call : one.calls()) {
    generate(one, call);
    // The fork reduces history during a forward pass, a stream between two of them.
    if (!one.config().at("use_compress").get<bool>()) compare_skyreels_stream(one, call);
  }
}

}  // namespace

void register_skyreels(Handlers& handlers) {
  handlers["skyreels-dit"] = transformer;
  handlers["skyreels-df-pipeline"] = pipeline;
}

}  // namespace golden
