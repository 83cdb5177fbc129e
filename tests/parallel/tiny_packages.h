// SPDX-License-Identifier: LGPL-2.1-or-later
// Models of every family that are small enough for many processes, as folders with a model.json: "random:FOLDER" loads them.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "../unit/temp_folder.h"

namespace flowcache::test {

using nlohmann::json;

inline json golden_config(const std::string& name) {
  std::ifstream file(std::string(FLOWCACHE_SOURCE_DIR) + "/tests/golden/" + name + "/case.json");
  return json::parse(file).at("config");
}

// heads of 16 numbers each; with 3 of them nothing divides by 2 or 4.
inline json tiny_wan(int heads) {
  json config = {{"patch_size", {1, 2, 2}}, {"text_len", 16},  {"in_dim", 16},   {"dim", 16 * heads},
                 {"ffn_dim", 96},           {"freq_dim", 64},  {"text_dim", 24}, {"out_dim", 16},
                 {"num_heads", heads},      {"num_layers", 3}, {"eps", 1e-6}};
  return {{"name", "tiny"},
          {"family", "wan-causal"},
          {"clean_context", true},
          {"video",
           {{"width", 64},
            {"height", 48},
            {"framerate", "16/1"},
            {"latent_frames_per_chunk", 3},
            {"frames_per_chunk", 12}}},
          {"transformer", {{"file", "none.safetensors"}, {"config", config}}},
          {"text",
           {{"kind", "umt5"},
            {"file", "none.safetensors"},
            {"config",
             {{"vocab", 420},
              {"dim", 24},
              {"dim_attn", 32},
              {"dim_ffn", 48},
              {"num_heads", 4},
              {"num_layers", 2},
              {"num_buckets", 32},
              {"shared_pos", false}}}}},
          {"decoder",
           {{"kind", "taehv"},
            {"file", "none.safetensors"},
            {"config", {{"latent_channels", 16}, {"patch_size", 1}, {"n_f", {16, 16, 16, 16}}}}}},
          {"sampler", {{"kind", "flow_euler"}, {"steps", 8}, {"shift", 1.5}}},
          {"cache", {{"reuse", "none"}, {"kv", "window"}, {"history_chunks", 2}}}};
}

// With guidance and chunks in flight.
inline json tiny_skyreels() {
  json model = tiny_wan(4);
  model["family"] = "skyreels";
  model["clean_context"] = false;
  model["sampler"] = {{"kind", "unipc"}, {"steps", 8}, {"shift", 8.0}, {"guidance_scale", 3.0}, {"lag", 4}};
  return model;
}

// guided: three passes for one velocity, of which two have their keys side by side; else distilled, with grouped heads.
inline json tiny_magi(bool guided) {
  json model = tiny_wan(4), config = golden_config(guided ? "magi-dit-cfg3" : "magi-dit-window");
  const json& net = config.at("model_config");
  config["num_layers"] = net.at("num_layers");  // read by the preflight
  config["dim"] = net.at("hidden_size");
  config["num_heads"] = net.at("num_attention_heads");
  config["num_kv_heads"] = net.at("num_query_groups");
  model["family"] = "magi";
  model["clean_context"] = false;
  model["video"] = {{"width", 48},
                    {"height", 32},
                    {"framerate", "24/1"},
                    {"latent_frames_per_chunk", 6},
                    {"frames_per_chunk", 24}};
  model["transformer"]["config"] = config;
  model["text"]["kind"] = "t5";
  model["text"]["config"] = {{"vocab_size", 420},
                             {"d_model", 24},
                             {"d_kv", 8},
                             {"d_ff", 32},
                             {"num_layers", 2},
                             {"num_heads", 3},
                             {"feed_forward_proj", "gated-gelu"}};
  model["decoder"] = {
      {"kind", "magi_vae"},
      {"file", "none.safetensors"},
      {"config", {{"embed_dim", 256}, {"depth", 1}, {"num_heads", 2}, {"latent_channels", 16}}}};
  model["sampler"] = {{"kind", "magi"}, {"steps", 8}, {"shift", 3.0}, {"lag", 2}};
  return model;
}

}  // namespace flowcache::test
