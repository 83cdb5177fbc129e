// SPDX-License-Identifier: LGPL-2.1-or-later
#include "package/parts.h"

#include <algorithm>
#include <optional>
#include <set>

#include "package/bytes.h"
#include "package/published_names.h"
#include "package/weights_file.h"

namespace flowcache {
namespace {

using nlohmann::json;

// The tensors of one network by the names that it has here.
struct View {
  const WeightMap& weights;
  std::string prefix;

  const at::Tensor* find(const std::string& name) const {
    const auto found = weights.find(prefix + name);
    return found == weights.end() ? nullptr : &found->second;
  }
  bool has(const std::string& name) const { return find(name) != nullptr; }
  int64_t size(const std::string& name, int64_t dim) const {
    const at::Tensor* tensor = find(name);
    return tensor && dim < tensor->dim() ? tensor->size(dim) : 0;
  }
  // How many layers "before0after", "before1after", … there are.
  int64_t count(const std::string& before, const std::string& after) const {
    int64_t n = 0;
    while (has(before + std::to_string(n) + after)) ++n;
    return n;
  }
};

std::string layers_of(int64_t layers, int64_t width) {
  return std::to_string(layers) + " layers of width " + std::to_string(width);
}

std::optional<Part> as_wan(const View& v) {
  const std::string q = ".self_attn.q.weight";
  if (!v.has("patch_embedding.weight") || !v.has("blocks.0" + q) || !v.has("head.head.weight"))
    return std::nullopt;
  Part part{.kind = PartKind::wan};
  const int64_t dim = v.size("patch_embedding.weight", 0), layers = v.count("blocks.", q);
  const int64_t rows = v.size("patch_embedding.weight", 3), columns = v.size("patch_embedding.weight", 4);
  part.skyreels = v.has("fps_embedding.weight");
  part.what = std::string(part.skyreels ? "SkyReels-V2" : "Wan") + " transformer, " + layers_of(layers, dim);
  if (v.has("img_emb.proj.1.weight") || v.has("blocks.0.cross_attn.k_img.weight"))
    return Part{
        .kind = PartKind::unsupported,
        .what = "an image-to-video " + part.what + ", which is not supported: take the text-to-video one"};
  if (rows < 1 || columns < 1) return std::nullopt;
  part.config = {{"dim", dim},
                 {"num_layers", layers},
                 {"in_dim", v.size("patch_embedding.weight", 1)},
                 {"out_dim", v.size("head.head.weight", 0) / (rows * columns)},
                 {"patch_size", {1, rows, columns}},
                 {"ffn_dim", v.size("blocks.0.ffn.0.weight", 0)},
                 {"freq_dim", v.size("time_embedding.0.weight", 1)},
                 {"text_dim", v.size("text_embedding.0.weight", 1)}};
  return part;
}

std::optional<Part> as_magi(const View& v) {
  const std::string q = ".self_attention.linear_qkv.q.weight", layer = "videodit_blocks.layers.";
  if (!v.has("x_embedder.weight") || !v.has(layer + "0" + q)) return std::nullopt;
  const int64_t layers = v.count(layer, q), dim = v.size("x_embedder.weight", 0);
  return Part{.kind = PartKind::magi,
              .what = "MAGI-1 transformer, " + layers_of(layers, dim),
              .config = {{"num_layers", layers}, {"dim", dim}}};
}

// In Wan's names; those of Hugging Face and llama.cpp are translated before.
std::optional<Part> as_t5(const View& v) {
  const std::string q = ".attn.q.weight", table = ".pos_embedding.embedding.weight";
  if (!v.has("token_embedding.weight") || !v.has("blocks.0" + q)) return std::nullopt;
  const int64_t layers = v.count("blocks.", q), tables = v.count("blocks.", table);
  const int64_t dim = v.size("token_embedding.weight", 1), vocabulary = v.size("token_embedding.weight", 0);
  const std::string first = tables > 0 ? "blocks.0" + table : "pos_embedding.embedding.weight";
  const int64_t buckets = v.size(first, 0), heads = v.size(first, 1), inner = v.size("blocks.0" + q, 0),
                ffn = v.size("blocks.0.ffn.fc1.weight", 0);
  if (heads < 1 || inner % heads != 0) return std::nullopt;
  // T5 has its table of positions in the first layer only, UMT5 in each.
  if (layers > 1 && tables == 1)
    return Part{.kind = PartKind::t5,
                .what = "T5 text encoder, " + layers_of(layers, dim),
                .config = {{"vocab_size", vocabulary},
                           {"d_model", dim},
                           {"d_kv", inner / heads},
                           {"d_ff", ffn},
                           {"num_layers", layers},
                           {"num_heads", heads},
                           {"relative_attention_num_buckets", buckets}}};
  return Part{.kind = PartKind::umt5,
              .what = "UMT5 text encoder, " + layers_of(layers, dim),
              .config = {{"vocab", vocabulary},
                         {"dim", dim},
                         {"dim_attn", inner},
                         {"dim_ffn", ffn},
                         {"num_heads", heads},
                         {"num_layers", layers},
                         {"num_buckets", buckets},
                         {"shared_pos", tables == 0}}};
}

std::optional<Part> as_vae(const View& v) {
  if (v.has("decoder.middle.0.residual.0.gamma") && v.has("decoder.head.2.weight") && v.has("conv2.weight")) {
    const int64_t channels = v.size("conv2.weight", 0), dim = v.size("decoder.head.2.weight", 1);
    Part part{.kind = PartKind::wan_vae,
              .what = "Wan's VAE, " + std::to_string(channels) + " latent channels",
              .config = {{"dim", dim}, {"z_dim", channels}}};
    // Wan 2.2's has levels of blocks, and an encoder of another width.
    if (v.has("decoder.upsamples.0.upsamples.0.residual.0.gamma")) {
      part.kind = PartKind::wan22_vae;
      part.what = "VAE of Wan 2.2, " + std::to_string(channels) + " latent channels";
      part.config = {{"dec_dim", dim}, {"z_dim", channels}};
      if (v.has("encoder.conv1.weight")) part.config["dim"] = v.size("encoder.conv1.weight", 0);
    }
    if (!v.has("encoder.conv1.weight")) part.what += ", without its encoder";
    return part;
  }
  if (v.has("decoder.cls_token") && v.has("decoder.proj_in.weight"))
    return Part{.kind = PartKind::magi_vae, .what = "MAGI-1's VAE"};
  if (v.has("decoder.1.weight") && v.has("decoder.3.conv.0.weight") && v.size("decoder.1.weight", 2) == 3) {
    const int64_t channels = v.size("decoder.1.weight", 1), pixel = v.size("decoder.22.weight", 0);
    Part part{.kind = PartKind::taehv,
              .what = "TAEHV decoder, " + std::to_string(channels) + " latent channels",
              .config = {{"latent_channels", channels}}};
    // The published form has three blocks a stage; others say in their config what they are.
    json widths = json::array();
    for (const char* stage :
         {"decoder.1.weight", "decoder.8.weight", "decoder.14.weight", "decoder.20.weight"})
      if (v.has(stage)) widths.push_back(v.size(stage, 0));
    if (widths.size() == 4 && (pixel == 3 || pixel == 12))
      part.config.update({{"n_f", widths}, {"patch_size", pixel == 3 ? 1 : 2}});
    return part;
  }
  return std::nullopt;
}

std::optional<Part> as_any(const View& view) {
  for (const auto& one : {as_wan, as_magi, as_t5, as_vae})
    if (auto part = one(view)) return part;
  return std::nullopt;
}

// What stands in front of a name that only one kind of network has.
std::set<std::string> prefixes_of(const WeightMap& weights) {
  constexpr std::string_view telling[] = {"patch_embedding.weight", "x_embedder.weight",
                                          "token_embedding.weight", "decoder.middle.0.residual.0.gamma",
                                          "decoder.cls_token",      "decoder.1.weight"};
  std::set<std::string> found;
  for (const auto& [name, tensor] : weights)
    for (const std::string_view end : telling)
      if (name.ends_with(end) && (name.size() == end.size() || name[name.size() - end.size() - 1] == '.'))
        found.insert(name.substr(0, name.size() - end.size()));
  return found;
}

// The networks that are there under the names of one library.
std::vector<Part> parts_in(const WeightMap& weights, const Naming* naming, const std::string& what) {
  WeightMap own;
  for (const auto& [name, tensor] : weights) {
    const std::string plain = without_wrappers(name), ours = naming ? naming->ours(plain, weights) : plain;
    if (!ours.empty()) own.emplace(ours, tensor);
  }
  std::vector<Part> parts;
  for (const std::string& prefix : prefixes_of(own)) {
    auto part = as_any({own, prefix});
    if (!part) continue;
    part->prefix = prefix;
    if (naming) part->layout = std::string("in the names of ") + naming->library;
    if (!prefix.empty())
      part->layout += std::string(part->layout.empty() ? "" : ", ") + "under " + in_quotes(prefix);
    parts.push_back(*part);
  }
  return parts;
}

bool is_lora(const std::string& name) {
  for (const std::string_view word :
       {".lora_A.", ".lora_B.", ".lora_down.", ".lora_up.", ".lora.down.", ".lora.up."})
    if (name.find(word) != std::string::npos) return true;
  return name.ends_with(".diff") || name.ends_with(".diff_b") || name.ends_with(".diff_m");
}

}  // namespace

std::vector<Part> parts_of(WeightMap weights, const std::string& what) {
  const bool tokenizer = weights.contains("spiece_model");
  join_scales(weights, what);
  for (const auto& [name, tensor] : weights) {
    if (is_lora(name)) return {{.kind = PartKind::lora, .what = "a LoRA"}};
    if (name.ends_with("_flat_param"))
      return {
          {.kind = PartKind::unsupported, .what = "shards of FSDP (" + name + "): save the full state dict"}};
  }
  if (weights.contains("other_tokens"))
    return {{.kind = PartKind::special_tokens, .what = "MAGI-1's special tokens"}};
  std::vector<const Naming*> namings = {nullptr};
  for (const auto& some : {transformer_namings(), decoder_namings(), text_namings()})
    for (const Naming& one : some) namings.push_back(&one);
  for (const Naming* naming : namings) {
    std::vector<Part> parts = parts_in(weights, naming, what);
    for (Part& part : parts) part.tokenizer = tokenizer;
    if (!parts.empty()) return parts;
  }
  std::string first;
  for (const auto& [name, tensor] : weights) {
    if (first.size() > 100) break;
    first += (first.empty() ? "" : ", ") + name;
  }
  return {
      {.what = "no network that is known here" + (first.empty() ? "" : "; its names begin with " + first)}};
}

}  // namespace flowcache
