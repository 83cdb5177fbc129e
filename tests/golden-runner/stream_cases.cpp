// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream_cases.h"

#include <c10/core/InferenceMode.h>

#include "cache/registry.h"
#include "families/magi/magi_stream.h"
#include "families/skyreels/skyreels.h"
#include "given_model.h"

namespace golden {

using namespace flowcache;
using nlohmann::json;

namespace {

std::string prompt_of(int64_t chunk) {
  return "chunk " + std::to_string(chunk);
}

json magi_config(const Case& one, const MagiRun& run) {
  json config = one.config();
  config["runtime_config"]["num_steps"] = run.steps;
  config["runtime_config"]["noise2clean_kvrange"] = run.key_range;
  config["runtime_config"]["clean_chunk_kvrange"] = run.clean_key_range;
  if (!run.near_clean) config["engine_config"].erase("distill_nearly_clean_chunk_threshold");
  return config;
}

}  // namespace

std::vector<at::Tensor> read_captions_of(const Case& one, const json& in) {
  const at::Tensor caption = one.tensor(in.at("caption")), mask = one.tensor(in.at("caption_mask"));
  std::vector<at::Tensor> all;
  for (int64_t c = 0; c < caption.size(0); ++c) all.push_back(caption[c].index({mask[c].ne(0)}));
  return all;
}

at::Tensor guided_in_stream(const Case& one, const std::vector<MagiStreamChunk>& chunks) {
  json config = one.config();
  config["runtime_config"]["cfg_number"] = 3;
  const auto model = make_magi(config, one.weights(), one.precision(), one.device());
  const TransformerShape& shape = model->shape();
  const int64_t per_frame = shape.tokens_per_frame(chunks[0].x.size(2), chunks[0].x.size(3));
  const KvGeometry geometry{.layers = shape.layers,
                            .kv_heads = shape.kv_heads,
                            .head_dim = shape.head_dim,
                            .tokens_per_frame = per_frame,
                            .tokens_per_chunk = chunk_frames * per_frame,
                            .window_chunks = static_cast<int64_t>(chunks.size()),
                            .dtype = one.precision().compute,
                            .device = one.device()};
  KvStore store(geometry, geometry.tokens_per_chunk, choose_kv("full").make());
  std::vector<at::Tensor> velocity;
  for (size_t i = 0; i < chunks.size(); ++i) {
    const auto c = static_cast<int64_t>(i);
    store.admit(c, c * chunk_frames);
    velocity.push_back(model->forward(chunks[i].x, 1 - chunks[i].t, c * chunk_frames,
                                      *model->condition(chunks[i].caption), store.view(c)));
  }
  return at::cat(velocity, 1);
}

void compare_magi_stream(Case& one, const json& call, const MagiRun& run) {
  const c10::InferenceMode inference;
  const json& in = call.at("in");
  const at::Tensor noise = one.tensor(in.at("latents"));
  const auto model = given_model(noise, chunk_frames);
  model->package.family = "magi";
  model->package.clean_context = run.clean_pass;
  model->package.sampler = {
      {"kind", "magi"}, {"steps", run.steps}, {"lag", run.steps / run.window}, {"shortcut", run.shortcut}};
  model->package.cache = {{"reuse", "none"}, {"kv", "full"}, {"history_chunks", run.chunks + run.window}};
  if (run.threshold)
    model->package.cache["reuse"] =
        "flowcache:residual=latent_increment,protect_last=0,unsafe=parity,warmup=" +
        std::to_string(run.warmup);
  model->transformer = make_magi(magi_config(one, run), one.weights(), at::kFloat, one.device());
  const int offset =
      run.prefix /
      static_cast<int>(chunk_frames);  // whole chunks of prefix; a stream counts from the next chunk
  std::map<std::string, at::Tensor, std::less<>> captions;
  for (const at::Tensor& caption : read_captions_of(one, in))
    captions[prompt_of(static_cast<int64_t>(captions.size()) - offset)] = caption;
  model->text = std::make_unique<GivenText>(std::move(captions));
  StreamConfig config;
  config.prompt = prompt_of(0);
  config.threshold = run.threshold.value_or(0);
  if (run.prefix > 0) config.initial_latents = one.tensor(in.at("prefix")).narrow(1, 0, run.prefix);
  Stream stream(model, config);
  for (int c = 1; c < run.chunks - offset; ++c)
    stream.prompts().change(prompt_of(c), static_cast<uint64_t>(c), 0);
  stream.replace_noise([&](int64_t chunk, int64_t) {
    // An endless stream asks for more chunks than the case has.
    const int64_t start = std::min(chunk + offset, int64_t{run.chunks} - 1);
    return noise.narrow(1, start * chunk_frames, chunk_frames).contiguous();
  });
  const at::Tensor generated = generate(stream, run.chunks - offset);
  // In the published code the latents of whole chunks of prefix stay noise.
  one.compare(at::cat({noise.narrow(1, 0, offset * chunk_frames), generated}, 1),
              call.at("out").at("latents"), one.tolerance("default"));
}

void compare_skyreels_stream(Case& one, const json& call) {
  const c10::InferenceMode inference;
  const json& config = one.config();
  const at::Tensor noise = one.tensor(call.at("noise"));
  const int64_t frames = config.at("frames_per_chunk"), chunks = config.at("chunks");
  const auto model = given_model(noise, frames);
  model->package.family = "skyreels";
  model->package.sampler = {{"kind", "unipc"},
                            {"steps", config.at("steps")},
                            {"shift", config.at("shift")},
                            {"lag", config.at("ar_step")},
                            {"guidance_scale", config.at("guidance_scale")},
                            {"overwrites_first_sample", true}};
  model->package.cache = {{"reuse", "none"}, {"kv", "full"}, {"history_chunks", 2 * chunks}};
  if (config.at("cache").get<bool>())
    model->package.cache["reuse"] =
        "flowcache:feature=modulation,residual=token_residual,polynomial=wan_1.3b,unsafe=parity,warmup=" +
        std::to_string(config.at("ret_steps").get<int>());
  json own = config;
  own["fps"] = config.at("fps_id") == 0 ? 16 : 24;
  model->transformer = make_skyreels(own, one.weights(), at::kFloat, one.device());
  model->text = std::make_unique<GivenText>(std::map<std::string, at::Tensor, std::less<>>{
      {"text", one.tensor(call.at("text"))}, {"negative", one.tensor(call.at("negative"))}});
  StreamConfig asked;
  asked.prompt = "text";
  asked.negative_prompt = "negative";
  asked.threshold = config.at("teacache_thresh");
  Stream stream(model, asked);
  stream.replace_noise([&](int64_t chunk, int64_t) {
    return noise.narrow(1, std::min(chunk, chunks - 1) * frames, frames).contiguous();
  });
  one.compare(generate(stream, chunks), call.at("latents"));
}

}  // namespace golden
