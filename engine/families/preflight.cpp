// SPDX-License-Identifier: LGPL-2.1-or-later
#include "families/preflight.h"

#include <algorithm>

#include "base/error.h"
#include "base/words.h"
#include "families/family.h"
#include "networks/text/t5_text_encoder.h"
#include "package/fields.h"

namespace flowcache {
namespace {

namespace fs = std::filesystem;

// Of Wan's VAEs, measured on a GPU's stand-in (tests/fake_gpu/parts): numbers for each pixel of the picture and unit of their
// width. About two thirds are what the layers remember of the latent frame before.
constexpr uint64_t wan_vae_values = 39, wan22_vae_values = 14;

int64_t tokens_per_frame(const ModelPackage& package, const Fields& config) {
  const std::vector<int64_t> patch =
      config.has("patch_size") ? config.integers("patch_size", 1, 16) : std::vector<int64_t>{1, 2, 2};
  return (package.latent_height / patch.at(1)) * (package.latent_width / patch.at(2));
}

Fields transformer_config(const ModelPackage& package) {
  const std::string file = (package.folder / "model.json").string();
  return Fields(package.transformer, file, "transformer").object("config");
}

// What a forward pass takes for a moment, beside weights, keys and values. It holds at once about ten rows
// of the hidden width and two of the feed-forward width for each token.
uint64_t working_bytes(const ModelPackage& package) {
  const Fields config = transformer_config(package);
  const uint64_t tokens = package.latent_frames_per_chunk * tokens_per_frame(package, config);
  const uint64_t dim = config.integer("dim", 1, 65536);
  return 4 * tokens * (10 * dim + 2 * config.integer("ffn_dim", 1, 1 << 20, 4 * dim));
}

}  // namespace

KvShape kv_shape(const ModelPackage& package) {
  const Fields config = transformer_config(package);
  const int64_t layers = config.integer("num_layers", 1, 1000), dim = config.integer("dim", 1, 65536);
  const int64_t heads = config.integer("num_heads", 1, dim);
  const int64_t kv_heads = config.integer("num_kv_heads", 1, heads, heads);
  const int sets = family_of(package).key_value_sets(config.raw());
  const int64_t frame = tokens_per_frame(package, config);
  return {.layers = layers,
          .heads = sets * heads,
          .kv_heads = sets * kv_heads,
          .head_dim = dim / heads,
          .tokens_per_frame = frame,
          .tokens_per_chunk = package.latent_frames_per_chunk * frame,
          .time_frequencies = family_of(package).time_frequencies(dim / heads)};
}

uint64_t kv_bytes_per_chunk(const ModelPackage& package, uint64_t element, uint64_t scale) {
  const KvShape shape = kv_shape(package);
  return 2 * (element * shape.head_dim + scale) * shape.layers * shape.kv_heads * shape.tokens_per_chunk;
}

uint64_t decoding_bytes(const ModelPackage& package, uint64_t element) {
  const uint64_t pixels = static_cast<uint64_t>(package.width) * package.height;
  const std::string file = (package.folder / "model.json").string();
  const Fields decoder(package.decoder, file, "decoder"), config = decoder.object("config", true);
  const std::string kind = decoder.string("kind", 63);
  if (kind == "wan_vae") return element * pixels * wan_vae_values * config.integer("dim", 1, 65536, 96);
  if (kind == "wan22_vae")
    return element * pixels * wan22_vae_values * config.integer("dec_dim", 1, 65536, 256);
  return 4 * 16 * pixels * 2;  // the widest layers of the others
}

MemoryPlan default_plan(const ModelPackage& package, uint64_t weight_bytes, uint64_t kv_bytes,
                        bool device_is_host) {
  const std::string file = (package.folder / "model.json").string();
  const Fields sampler(package.sampler, file, "sampler");
  const auto steps = package.sampler.contains("denoising_step_list")
                         ? static_cast<int64_t>(package.sampler["denoising_step_list"].size())
                         : sampler.integer("steps", 1, 1000);
  int64_t lag = sampler.integer("lag", 0, 1000, 0);
  if (lag == 0 || lag > steps) lag = steps;
  MemoryPlan plan;
  plan.weight_bytes = weight_bytes;
  plan.kv_bytes = kv_bytes;
  plan.chunks_in_flight = static_cast<uint64_t>((steps + lag - 1) / lag);
  plan.branches = sampler.number("guidance_scale", 0, 50, 1.0) == 1 ? 1 : 2;
  plan.device_is_host = device_is_host;
  return plan;
}

std::vector<MemoryNeed> needs_of(const std::vector<MemoryNeed>& needs, bool host) {
  std::vector<MemoryNeed> some;
  for (const MemoryNeed& need : needs)
    if (need.on_host == host) some.push_back(need);
  return some;
}

namespace {

uint64_t weights(const ModelPackage& package, int64_t known, const nlohmann::json& section) {
  return known >= 0 ? static_cast<uint64_t>(known) : section_bytes(package, section);
}

// Published checkpoints store two bytes for each weight; as fp32 they double.
uint64_t decoder_bytes(const ModelPackage& package, const MemoryPlan& plan) {
  return weights(package, plan.decoder_bytes, package.decoder) * 2;
}

uint64_t frame_bytes(const ModelPackage& package) {
  return uint64_t{4} * 3 * package.width * package.height * package.frames_per_chunk;
}

}  // namespace

std::vector<MemoryNeed> decoder_needs(const ModelPackage& package, const MemoryPlan& plan) {
  return {{"decoder", decoder_bytes(package, plan)},
          {"working memory", decoding_bytes(package, plan.kv_bytes)},
          {"frames of a chunk", frame_bytes(package)}};
}

std::vector<MemoryNeed> memory_needs(const ModelPackage& package, const MemoryPlan& plan) {
  const std::string file = (package.folder / "model.json").string();
  const uint64_t chunk = kv_bytes_per_chunk(package, plan.kv_bytes) * plan.branches;
  const uint64_t finished =
      plan.kv_int8 ? kv_bytes_per_chunk(package, 1, sizeof(float)) * plan.branches : chunk;
  const uint64_t history = Fields(package.cache, file, "cache").integer("history_chunks", 1, 100000, 1);
  const Fields text(package.text, file, "text");
  const bool text_on_host = !plan.device_is_host && text.string("device", 15, "model") == "cpu";
  const bool on_cpu = plan.device_is_host || text_on_host;
  const bool wide =
      text.string("kind", 63) != "words" &&
      text.string("precision", 15, default_text_precision(text.string("kind", 63), on_cpu)) == "fp32";
  const uint64_t text_bytes =
      text.boolean("unload", false) ? 0 : weights(package, plan.text_bytes, package.text) * (wide ? 2 : 1);
  // On a GPU the next chunk is decoded while the frames of the last are still read.
  const uint64_t chunks_of_frames = plan.device_is_host ? 1 : 2;
  const auto part = [&](uint64_t bytes) {
    return static_cast<uint64_t>(static_cast<double>(bytes) * plan.kv_share);
  };
  const uint64_t budget = plan.kv_budget ? plan.kv_budget : part(history * finished);
  if (plan.network_only)
    return {{"transformer",
             weights(package, plan.transformer_bytes, package.transformer) * plan.weight_bytes / 2},
            {"KV budget of history", budget},
            {"KV of chunks in flight", part(plan.chunks_in_flight * chunk)},
            {"KV scratch", part(plan.kv_scratch)},
            {"working memory", working_bytes(package)}};
  return {
      {"transformer", weights(package, plan.transformer_bytes, package.transformer) * plan.weight_bytes / 2},
      {"text encoder", text_bytes, text_on_host},
      {"decoder", plan.decoder_away ? 0 : decoder_bytes(package, plan)},
      {"KV budget of history", budget},
      {"KV of chunks in flight", part(plan.chunks_in_flight * chunk)},
      {"KV scratch", part(plan.kv_scratch)},
      {"working memory",
       working_bytes(package) + (plan.decoder_away ? 0 : decoding_bytes(package, plan.kv_bytes))},
      {"frames of a chunk", chunks_of_frames * frame_bytes(package)},
  };
}

void check_memory(const std::vector<MemoryNeed>& needs, uint64_t available, const std::string& where) {
  uint64_t total = 0;
  for (const MemoryNeed& need : needs) total += need.bytes;
  if (total <= available) return;
  std::string message = "the model and one stream need " + megabytes(total) + ", but " + where + " has " +
                        megabytes(available) + ":";
  for (const MemoryNeed& need : needs)
    message += " " + need.what + " " + megabytes(need.bytes) + (&need == &needs.back() ? "" : ",");
  throw Error(FC_ERROR_MEMORY,
              message +
                  "; lower kv-budget or choose kv-precision int8, ask for a smaller picture, "
                  "choose precision bf16, fp8 or int8, or a smaller model, or free memory");
}

}  // namespace flowcache
