// SPDX-License-Identifier: LGPL-2.1-or-later
#include "package/magi_config.h"

#include <fstream>

#include "base/error.h"

namespace flowcache {
namespace {

using nlohmann::json;
using ordered = nlohmann::ordered_json;

constexpr const char* sections[] = {"model_config", "engine_config", "runtime_config"};
constexpr int64_t frames_per_latent = 4;

void take_shape(ordered& config, const json& theirs) {
  const int64_t halves = theirs.value("half_channel_vae", false) ? 2 : 1,
                gates = theirs.value("gated_linear_unit", false) ? 2 : 1,
                side = theirs.value("patch_size", int64_t{2});
  config["num_layers"] = theirs.at("num_layers");
  config["dim"] = theirs.at("hidden_size");
  config["ffn_dim"] = theirs.at("ffn_hidden_size").get<int64_t>() * gates;
  config["num_heads"] = theirs.at("num_attention_heads");
  config["num_kv_heads"] = theirs.at("num_query_groups");
  config["out_dim"] = theirs.at("in_channels").get<int64_t>() / halves;
  config["patch_size"] = {1, side, side};
}

// window_size: how many chunks are in flight.
void take_run(ordered& model, const json& theirs) {
  ordered& video = model["video"];
  for (const auto& [own, field] : {std::pair{"width", "video_size_w"}, {"height", "video_size_h"}})
    if (theirs.contains(field)) video[own] = theirs.at(field);
  if (theirs.contains("fps")) video["framerate"] = theirs.at("fps").dump() + "/1";
  if (theirs.contains("chunk_width")) {
    video["latent_frames_per_chunk"] = theirs.at("chunk_width");
    video["frames_per_chunk"] = theirs.at("chunk_width").get<int64_t>() * frames_per_latent;
  }
  const int64_t steps = theirs.at("num_steps"), window = theirs.value("window_size", int64_t{4});
  model["sampler"]["steps"] = steps;
  model["sampler"]["lag"] = window > 0 ? steps / window : 0;
}

}  // namespace

json read_magi_config(const std::filesystem::path& file) {
  const json document = json::parse(std::ifstream(file), nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return nullptr;
  for (const char* section : sections)
    if (!document.contains(section) || !document[section].is_object()) return nullptr;
  return document;
}

void take_magi_config(ordered& model, const json& config) {
  try {
    ordered& own = model["transformer"]["config"];
    for (const char* section : sections)
      for (auto& [field, value] : own[section].items())
        if (config.at(section).contains(field)) value = config.at(section).at(field);
    take_shape(own, config.at("model_config"));
    take_run(model, config.at("runtime_config"));
    model["text"]["max_length"] = config.at("model_config").at("caption_max_length");
  } catch (const json::exception& error) {
    throw Error(FC_ERROR_MODEL, std::string("MAGI-1's configuration: ") + error.what());
  }
}

}  // namespace flowcache
