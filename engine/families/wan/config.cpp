// SPDX-License-Identifier: LGPL-2.1-or-later
#include "families/wan/config.h"

#include <cmath>

#include "families/wan/wan.h"
#include "package/fields.h"

namespace flowcache::wan {

Config Config::from_json(const nlohmann::json& json) {
  const Fields fields(json, "wan transformer", "config");
  fields.none_like({"num_layers", "dim", "num_heads", "ffn_dim", "in_dim", "out_dim", "text_dim", "text_len",
                    "freq_dim", "eps", "rope_spatial_scale", "rope_scale_exponent", "rope_reference_tokens",
                    "patch_size", "model_type", "qk_norm", "cross_attn_norm", "inject_sample_info", "fps"});
  Config c;
  c.layers = fields.integer("num_layers", 1, 1000);
  c.dim = fields.integer("dim", 2, 65536);
  c.heads = fields.integer("num_heads", 1, c.dim);
  c.ffn_dim = fields.integer("ffn_dim", 1, 1 << 20);
  c.in_channels = fields.integer("in_dim", 1, 1024, 16);
  c.out_channels = fields.integer("out_dim", 1, 1024, 16);
  c.text_dim = fields.integer("text_dim", 1, 65536);
  c.text_len = fields.integer("text_len", 1, 65536);
  c.freq_dim = fields.integer("freq_dim", 2, 65536, 256);
  c.eps = fields.number("eps", 1e-12, 1e-2, 1e-6);
  c.rope_spatial_scale = fields.number("rope_spatial_scale", 0.01, 100, 1);
  c.rope_scale_exponent = fields.number("rope_scale_exponent", 0, 1, 0);
  c.rope_reference_tokens = fields.integer("rope_reference_tokens", 1, 1 << 20, 1);
  if (c.rope_scale_exponent != 0 && !fields.has("rope_reference_tokens"))
    fields.fail("rope_reference_tokens", "the tokens a frame of the size that rope_spatial_scale holds for");
  if (c.dim % c.heads != 0 || c.head_dim() % 2 != 0)
    fields.fail("num_heads", "a number that divides dim " + std::to_string(c.dim) + " into even parts");
  if (c.freq_dim % 2 != 0) fields.fail("freq_dim", "an even number");
  if (fields.has("patch_size")) {
    const auto patch = fields.integers("patch_size", 1, 16);
    if (patch.size() != 3 || patch[0] != 1) fields.fail("patch_size", "[1, rows, columns]");
    c.patch_height = patch[1];
    c.patch_width = patch[2];
  }
  if (fields.string("model_type", 63, "t2v") != "t2v")
    fields.fail("model_type", "\"t2v\"; no other is built yet");
  for (const char* name : {"qk_norm", "cross_attn_norm"})
    if (!fields.boolean(name, true)) fields.fail(name, "true; nothing else is built");
  if (fields.boolean("inject_sample_info", false))
    fields.fail("inject_sample_info", "false; no other is built yet");
  return c;
}

double Config::rope_scale(int64_t tokens_per_frame) const {
  const double larger = static_cast<double>(tokens_per_frame) / static_cast<double>(rope_reference_tokens);
  return rope_spatial_scale * std::pow(larger, -rope_scale_exponent);
}

TransformerShape Config::shape() const {
  return {.layers = static_cast<int>(layers),
          .dim = dim,
          .heads = heads,
          .kv_heads = heads,
          .head_dim = head_dim(),
          .latent_channels = in_channels,
          .patch_height = patch_height,
          .patch_width = patch_width,
          // q, k, v and o of self-attention, q and o of cross-attention, and the feed-forward
          .block_weights = 6 * dim * dim + 2 * dim * ffn_dim,
          .attention_weights = 4 * dim * dim,
          .time_frequencies = rope_time_frequencies(head_dim())};
}

std::vector<WeightSpec> Config::weights() const {
  std::vector<WeightSpec> all;
  const auto linear = [&](const std::string& name, int64_t in, int64_t out) {
    all.push_back({name + ".weight", {out, in}});
    all.push_back({name + ".bias", {out}});
  };
  all.push_back({"patch_embedding.weight", {dim, in_channels, 1, patch_height, patch_width}});
  all.push_back({"patch_embedding.bias", {dim}});
  linear("text_embedding.0", text_dim, dim);
  linear("text_embedding.2", dim, dim);
  linear("time_embedding.0", freq_dim, dim);
  linear("time_embedding.2", dim, dim);
  linear("time_projection.1", dim, 6 * dim);
  for (int64_t i = 0; i < layers; ++i) {
    const std::string block = "blocks." + std::to_string(i) + ".";
    for (const char* attention : {"self_attn.", "cross_attn."}) {
      for (const char* part : {"q", "k", "v", "o"}) linear(block + attention + part, dim, dim);
      for (const char* part : {"norm_q", "norm_k"})
        all.push_back({block + attention + part + ".weight", {dim}});
    }
    all.push_back({block + "norm3.weight", {dim}});
    all.push_back({block + "norm3.bias", {dim}});
    linear(block + "ffn.0", dim, ffn_dim);
    linear(block + "ffn.2", ffn_dim, dim);
    all.push_back({block + "modulation", {1, 6, dim}});
  }
  linear("head.head", dim, patch_out());
  all.push_back({"head.modulation", {1, 2, dim}});
  return all;
}

}  // namespace flowcache::wan
