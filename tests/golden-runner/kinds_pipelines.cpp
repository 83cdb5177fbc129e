// SPDX-License-Identifier: LGPL-2.1-or-later
// Whole pipelines, run by the engine's own Stream: self-forcing-pipeline, ambient-stream and ambient-feed.
#include <c10/core/InferenceMode.h>

#include "../fake_gpu/spare/spare_load.h"
#include "case.h"
#include "families/family.h"
#include "families/wan/wan.h"
#include "fed_frames.h"
#include "given_model.h"
#include "networks/text/words.h"
#include "samplers/few_step.h"
#include "stream/stream.h"

namespace golden {

namespace {

using flowcache::LoadedModel;
using flowcache::Stream;
using flowcache::StreamConfig;
using nlohmann::json;

std::shared_ptr<const LoadedModel> self_forcing_model(const Case& test, const json& call) {
  const json& config = test.config();
  const at::Tensor noise = test.tensor(call.at("noise"));
  const auto model = given_model(noise, config.at("frames_per_chunk"));
  model->package.clean_context = true;
  model->package.sampler = {{"kind", "few_step"},
                            {"denoising_step_list", config.at("denoising_step_list")},
                            {"timestep_shift", config.at("timestep_shift")},
                            {"warp_denoising_step", config.at("warp_denoising_step")}};
  model->package.cache = {{"reuse", "none"}, {"kv", "full"}, {"history_chunks", call.at("chunks")}};
  model->transformer = flowcache::make_wan(config, test.weights(), test.precision(), test.device());
  model->compute = test.precision().compute;
  model->text = std::make_unique<GivenText>(test.tensor(call.at("text")));
  return model;
}

void run_self_forcing(Case& test) {
  const c10::InferenceMode inference;
  for (const json& call : test.calls()) {
    const json& config = test.config();
    const auto training = flowcache::few_step_training_table(config.at("timestep_shift"));
    test.compare(at::tensor(training.sigma), call.at("sigmas"));
    test.compare(at::tensor(training.timestep), call.at("timesteps"));
    const auto model = self_forcing_model(test, call);
    Stream stream(model, StreamConfig{});
    const int64_t steps = config.at("denoising_step_list").size(), frames = config.at("frames_per_chunk");
    stream.replace_noise([&](int64_t chunk, int64_t draw) {
      if (draw == 0)
        return test.tensor(call.at("noise")).slice(1, chunk * frames, (chunk + 1) * frames).contiguous();
      return test.tensor(call.at("renoise").at(chunk * (steps - 1) + draw - 1));
    });
    test.compare(generate(stream, call.at("chunks")), call.at("latents"));
  }
}

void run_ambient_generate(Case& test, const json& call, const std::shared_ptr<const LoadedModel>& model) {
  const std::vector<std::string> prompts = call.at("prompts");
  StreamConfig config;
  config.prompt = prompts.front();
  config.steps = call.at("steps");
  config.cache = "none";
  config.kv_cache = "window";
  Stream stream(model, config);
  for (size_t i = 1; i < prompts.size(); ++i)
    if (prompts[i] != prompts[i - 1]) stream.prompts().change(prompts[i], i, 0);
  const at::Tensor noise = test.tensor(call.at("noise"));
  stream.replace_noise([&](int64_t chunk, int64_t) { return noise[chunk]; });
  const auto first = stream.next();
  first->decoded.wait();
  test.compare(at::cat({first->latent, generate(stream, static_cast<int64_t>(prompts.size()) - 1)}, 1),
               call.at("latents"));
  // The decoder alone: what a stream shows has its borders faded (stream/seam_fade.h), which the reference does not do.
  const auto state = model->decoder->open();
  const at::Tensor decoded = model->decoder->decode(first->latent.transpose(0, 1).contiguous(), *state);
  const int64_t before_borders =
      first->frames.size(0) / first->latent.size(1);  // frames of the first latent frame
  if (!at::allclose(first->frames.narrow(0, 0, before_borders).cpu(),
                    decoded.narrow(0, 0, before_borders).cpu(), 0, 1e-3))
    test.fail("the stream's first frames are not those of the decoder");
  const at::Tensor& frames = test.tensor(call.at("frames"));
  const bool bytes = frames.scalar_type() == at::kByte;  // rounded, so one level of difference is allowed
  test.compare(bytes ? (decoded * 255).round() : decoded, call.at("frames"),
               bytes ? Tolerance{0, 1.01} : test.tolerance());
  flowcache::OwnKeys own;
  const auto condition = model->transformer->condition(model->text->encode(prompts.front()).embedding);
  test.compare(model->transformer->forward(noise[0], 1000.0, 0, *condition, own), call.at("velocity0"));
}

// Compares the word encoder's ids, by the rows of the embedding table that it returns.
void run_ambient_text(Case& test, const json& call, const LoadedModel& model) {
  const auto& words = dynamic_cast<const flowcache::WordsEncoder&>(*model.text);
  const std::string prompt = call.at("prompt");
  const std::vector<int64_t> ids = call.at("ids");
  std::vector<std::string> unknown;
  if (words.ids(prompt, unknown) != ids) test.fail("ids of \"" + prompt + "\"");
  if (unknown != call.at("unknown").get<std::vector<std::string>>())
    test.fail("unknown words of \"" + prompt + "\"");
}

void run_ambient_feed(Case& test, const json& call, const std::shared_ptr<const LoadedModel>& model) {
  const std::vector<double> strengths = call.at("strengths");
  const int64_t width = call.at("size").at(0), height = call.at("size").at(1);
  StreamConfig config;
  config.prompt = call.at("prompt");
  config.steps = call.at("steps");
  config.cache = "none";
  config.kv_cache = "window";
  config.width = width;
  config.height = height;
  Stream stream(model, config);
  const at::Tensor noise = test.tensor(call.at("noise"));
  stream.replace_noise([&](int64_t chunk, int64_t) { return noise[chunk]; });
  std::vector<at::Tensor> latents, fed;
  for (size_t i = 0; i < strengths.size(); ++i) {
    const at::Tensor frames = fed_frames(12 * static_cast<int64_t>(i), 12, width, height);
    fed.push_back(model->frame_encoder()->encode(frames).transpose(0, 1));
    stream.feed().give(frames, strengths[i], false);
    const auto chunk = stream.next();
    chunk->decoded.wait();
    latents.push_back(chunk->latent);
  }
  test.compare(at::cat(fed, 1), call.at("fed"));
  test.compare(at::cat(latents, 1), call.at("latents"));
}

void run_ambient(Case& test) {
  const c10::InferenceMode inference;
  flowcache::LoadOptions options;
  options.model = (test.folder() / test.config().at("model").get<std::string>()).string();
  options.device = "cpu";
  options.precision = "fp32";
  const auto model = test.device().is_cpu()
                         ? LoadedModel::load(options, nullptr)
                         : spare::load(flowcache::read_model(options.model), test.device());
  for (const json& call : test.calls()) {
    if (call.at("op") == "generate")
      run_ambient_generate(test, call, model);
    else if (call.at("op") == "feed")
      run_ambient_feed(test, call, model);
    else if (call.at("op") == "text")
      run_ambient_text(test, call, *model);
    else
      test.fail("unknown op " + call.at("op").get<std::string>());
  }
}

}  // namespace

void register_pipelines(Handlers& handlers) {
  handlers["self-forcing-pipeline"] = run_self_forcing;
  handlers["ambient-stream"] = run_ambient;
  handlers["ambient-feed"] = run_ambient;
}

}  // namespace golden
