// SPDX-License-Identifier: LGPL-2.1-or-later
// Tiny models of every family, with the golden cases' weights, on any device. Each call makes the same one.
#pragma once

#include <functional>

#include "../../unit/temp_folder.h"
#include "../../unit/tiny_model.h"
#include "families/family.h"
#include "spare_load.h"

namespace spare {

using flowcache::LoadedModel;
using nlohmann::json;
using MakeModel = std::function<std::shared_ptr<LoadedModel>(at::Device)>;

inline const std::filesystem::path golden_cases = FLOWCACHE_SOURCE_DIR "/tests/golden";

inline json golden_config(const std::string& name) {
  return json::parse(std::ifstream(golden_cases / name / "case.json")).at("config");
}

// model.json's files are looked for among the golden cases.
inline flowcache::ModelPackage golden_package(const json& model) {
  const flowcache::test::TempFolder folder;
  folder.write("model.json", model.dump());
  flowcache::ModelPackage package = flowcache::read_model(folder.path);
  package.folder = golden_cases;
  return package;
}

// The transformer has its file's weights; `random` of the other parts are made up, prompts always.
inline std::shared_ptr<LoadedModel> load_mixed(flowcache::ModelPackage package, at::Device device,
                                               bool random_decoder) {
  auto model = std::make_shared<LoadedModel>();
  model->device = device;
  model->transformer = flowcache::make_transformer(package, at::kFloat, device);
  package.random_weights = true;
  model->text = flowcache::make_text_encoder(package, device);
  package.random_weights = random_decoder;
  model->decoder = flowcache::make_decoder(package, at::kFloat, device);
  model->package = std::move(package);
  return model;
}

// 36 tokens a chunk, 8 steps, no decoder.
inline std::shared_ptr<LoadedModel> wan(at::Device device) {
  const auto model = flowcache::test::tiny_model();
  model->device = device;
  model->transformer = flowcache::make_wan(
      flowcache::test::tiny_config(),
      flowcache::read_safetensors(golden_cases / "self-forcing-pipeline/weights.safetensors"), at::kFloat,
      device);
  return model;
}

// The same, with fresh noise between four steps, and with a solver that remembers.
inline std::shared_ptr<LoadedModel> few_step_wan(at::Device device) {
  const auto model = wan(device);
  model->package.sampler = {{"kind", "few_step"},
                            {"denoising_step_list", {1000, 750, 500, 250}},
                            {"timestep_shift", 5.0},
                            {"warp_denoising_step", true}};
  return model;
}
inline std::shared_ptr<LoadedModel> unipc_wan(at::Device device) {
  const auto model = wan(device);
  model->package.sampler = {{"kind", "unipc"}, {"steps", 8}, {"shift", 5.0}};
  return model;
}

// Guided, three chunks in flight, with the Wan VAE.
inline std::shared_ptr<LoadedModel> skyreels(at::Device device) {
  const json model = {
      {"name", "tiny"},
      {"family", "skyreels"},
      {"clean_context", false},
      {"video",
       {{"width", 96},
        {"height", 64},
        {"framerate", "24/1"},
        {"latent_frames_per_chunk", 2},
        {"frames_per_chunk", 8}}},
      {"transformer",
       {{"file", "skyreels-df-transformer/weights.safetensors"},
        {"config", golden_config("skyreels-df-transformer")}}},
      {"text", {{"kind", "umt5"}, {"file", "none"}}},
      {"decoder",
       {{"kind", "wan_vae"},
        {"files", {"wan-vae-decode-stream/weights.safetensors", "wan-vae-encode/weights.safetensors"}},
        {"config", golden_config("wan-vae-decode-stream")}}},
      {"sampler", {{"kind", "unipc"}, {"steps", 12}, {"shift", 8.0}, {"guidance_scale", 3.0}, {"lag", 4}}},
      {"cache",
       {{"reuse", "flowcache:feature=modulation,warmup=2"},
        {"threshold", 5.0},
        {"kv", "flowcache:queries=chunk"},
        {"history_chunks", 1}}}};
  return load_mixed(golden_package(model), device, false);
}

// Four chunks in flight; passes: 1 of a distilled model, 3 of a base one.
inline std::shared_ptr<LoadedModel> magi_of(at::Device device, int passes) {
  json config = golden_config("magi-dit-window");
  config["num_layers"] = 2;  // what the preflight reads
  config["dim"] = 96;
  config["num_heads"] = 6;
  config["num_kv_heads"] = 2;
  if (passes == 3) {
    config["engine_config"] = {{"distill", false}};
    config["runtime_config"] = {{"cfg_number", 3}};
  }
  const json model = {
      {"name", "tiny"},
      {"family", "magi"},
      {"clean_context", passes == 3},
      {"video",
       {{"width", 48},
        {"height", 32},
        {"framerate", "24/1"},
        {"latent_frames_per_chunk", 6},
        {"frames_per_chunk", 24}}},
      {"transformer", {{"file", "magi-dit-window/weights.safetensors"}, {"config", config}}},
      {"text", {{"kind", "t5"}, {"file", "none"}}},
      {"decoder",
       {{"kind", "magi_vae"},
        {"file", "none"},
        {"config", {{"embed_dim", 256}, {"depth", 1}, {"num_heads", 2}, {"latent_channels", 16}}}}},
      {"sampler", {{"kind", "magi"}, {"steps", 16}, {"shift", 3.0}, {"lag", 4}}},
      {"cache",
       {{"reuse", "flowcache:warmup=2,protect_last=0"},
        {"threshold", 0.1},
        {"kv", "flowcache:queries=frame"},
        {"history_chunks", 1}}}};
  return load_mixed(golden_package(model), device, true);
}
inline std::shared_ptr<LoadedModel> magi(at::Device device) {
  return magi_of(device, 1);
}
inline std::shared_ptr<LoadedModel> magi_base(at::Device device) {
  return magi_of(device, 3);
}

// The model that ships: a real text encoder and TAEHV.
inline std::shared_ptr<LoadedModel> ambient(at::Device device) {
  return load(flowcache::read_model(FLOWCACHE_SOURCE_DIR "/models/ambient"), device);
}

}  // namespace spare
