// SPDX-License-Identifier: LGPL-2.1-or-later
// A model that is small enough for unit tests: Wan weights of the golden cases, prompts hashed into features,
// no decoder.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <string>

#include "families/wan/wan.h"
#include "stream/noise.h"
#include "stream/stream.h"

namespace flowcache::test {

class HashedText final : public TextEncoder {
 public:
  TextFeatures encode(std::string_view prompt) const override {
    return {draw_noise(std::hash<std::string_view>{}(prompt), 0, 0, {4, 48}, at::kCPU), {}};
  }
};

class LatentDecoder final : public Decoder {
 public:
  std::unique_ptr<DecoderState> open() const override { return std::make_unique<NoDecoderState>(); }
  // Returns the first three channels as a picture.
  at::Tensor decode(const at::Tensor& latents, DecoderState&) const override {
    return latents.slice(1, 0, 3).sigmoid().contiguous();
  }
  int64_t time_scale() const override { return 1; }
  int64_t space_scale() const override { return 1; }
};

inline nlohmann::json tiny_config() {
  return {{"model_type", "t2v"},
          {"patch_size", {1, 2, 2}},
          {"text_len", 16},
          {"in_dim", 16},
          {"dim", 64},
          {"ffn_dim", 128},
          {"freq_dim", 256},
          {"text_dim", 48},
          {"out_dim", 16},
          {"num_heads", 2},
          {"num_layers", 2},
          {"qk_norm", true},
          {"cross_attn_norm", true},
          {"eps", 1e-6}};
}

// 12 tokens in a frame, 36 in a chunk. `alter` may change the weights before they are used.
inline std::shared_ptr<LoadedModel> tiny_model(const std::function<void(WeightMap&)>& alter = nullptr) {
  WeightMap weights =
      read_safetensors(FLOWCACHE_SOURCE_DIR "/tests/golden/self-forcing-pipeline/weights.safetensors");
  if (alter) alter(weights);
  auto model = std::make_shared<LoadedModel>();
  model->threads = 1;
  model->package.family = "wan-causal";
  model->package.fps_n = 16;
  model->package.frames_per_chunk = 3;
  model->package.latent_channels = 16;
  model->package.latent_frames_per_chunk = 3;
  model->package.width = 64;
  model->package.height = 48;
  model->package.sizes = {{32, 32}, {128, 96}, {16, 16}, {{64, 48}}};
  model->package.latent_height = 6;
  model->package.latent_width = 8;
  model->package.clean_context = true;
  model->package.sampler = {{"kind", "flow_euler"}, {"steps", 8}, {"shift", 1.5}};
  model->package.cache = {
      {"reuse", "flowcache"}, {"threshold", 0.2}, {"kv", "window"}, {"history_chunks", 2}};
  model->transformer = make_wan(tiny_config(), weights, at::kFloat, at::kCPU);
  model->decoder = std::make_unique<LatentDecoder>();
  model->text = std::make_unique<HashedText>();
  return model;
}

}  // namespace flowcache::test
