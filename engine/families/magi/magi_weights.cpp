// SPDX-License-Identifier: LGPL-2.1-or-later
#include "families/magi/magi_weights.h"

#include "base/error.h"

namespace flowcache {
namespace {

// A published config has three sections; a model.json may have only the first one.
nlohmann::json section(const nlohmann::json& config, const char* name) {
  return config.contains(name) ? config.at(name) : nlohmann::json::object();
}

void check(const MagiConfig& c) {
  const auto bad = [](const std::string& why) { throw Error(FC_ERROR_MODEL, "magi config: " + why); };
  if (c.layers < 1 || c.hidden < 1 || c.ffn < 1 || c.heads < 1 || c.kv_heads < 1 || c.head_dim < 8 ||
      c.condition < 1 || c.text < 1 || c.caption_channels < 1 || c.caption_length < 2 ||
      c.latent_channels < 1 || c.patch < 1)
    bad("every size must be positive (kv_channels at least 8, caption_max_length at least 2)");
  if (c.heads % c.kv_heads != 0)
    bad(std::to_string(c.heads) + " query heads do not divide into " + std::to_string(c.kv_heads) +
        " groups");
  if (c.heads * c.head_dim % 8 != 0)
    bad("attention width " + std::to_string(c.heads * c.head_dim) + " is not a multiple of 8");
  if (!(c.latent_scale > 0)) bad("x_rescale_factor must be greater than 0");
}

}  // namespace

MagiConfig MagiConfig::from_json(const nlohmann::json& json) {
  MagiConfig c;
  try {
    const nlohmann::json model = json.contains("model_config") ? json.at("model_config") : json;
    c.layers = model.at("num_layers");
    c.hidden = model.at("hidden_size");
    c.ffn = model.at("ffn_hidden_size");
    c.heads = model.at("num_attention_heads");
    c.kv_heads = model.at("num_query_groups");
    c.head_dim = model.at("kv_channels");
    const auto part = [&](const char* ratio, double fallback) {
      return static_cast<int64_t>(static_cast<double>(c.hidden) * model.value(ratio, fallback));
    };
    c.condition = part("cond_hidden_ratio", 0.25);
    c.text = part("xattn_cond_hidden_ratio", 1.0);
    c.caption_channels = model.at("caption_channels");
    c.caption_length = model.at("caption_max_length");
    c.doubled_channels = model.value("half_channel_vae", false);
    c.latent_channels = model.at("in_channels").get<int64_t>() / (c.doubled_channels ? 2 : 1);
    c.gated_ffn = model.value("gated_linear_unit", false);
    c.latent_scale = model.value("x_rescale_factor", 1.0);
    c.patch = model.value("patch_size", int64_t{2});
    c.eps = model.value("layernorm_epsilon", 1e-6);
    if (model.value("t_patch_size", 1) != 1 || model.value("cond_gating_ratio", 1.0) != 1.0 ||
        !model.value("apply_layernorm_1p", true))
      throw Error(
          FC_ERROR_MODEL,
          "magi config: t_patch_size and cond_gating_ratio other than 1, or apply_layernorm_1p false, "
          "belong to no published checkpoint and are not supported");
    c.distilled = section(json, "engine_config").value("distill", json.value("distill", false));
    c.steps = section(json, "runtime_config").value("num_steps", json.value("num_steps", 64));
  } catch (const nlohmann::json::exception& error) {
    throw Error(FC_ERROR_MODEL, std::string("magi config: ") + error.what());
  }
  check(c);
  return c;
}

namespace magi {
namespace {

void declare_norm(Parameters& p, const std::string& name, int64_t size, Norm& norm,
                  std::optional<at::ScalarType> dtype = {}) {
  p.want(name + ".weight", {size}, norm.weight, dtype);
  p.want(name + ".bias", {size}, norm.bias, dtype);
}

void declare_linear(Parameters& p, const std::string& name, int64_t out, int64_t in, at::Tensor& weight,
                    at::Tensor& bias, std::optional<at::ScalarType> dtype = {}) {
  p.want(name + ".weight", {out, in}, weight, dtype);
  p.want(name + ".bias", {out}, bias, dtype);
}

void declare_block(const MagiConfig& c, Parameters& p, const std::string& layer, Block& b) {
  const int64_t inner = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  const std::string attention = layer + "self_attention.", qkv = attention + "linear_qkv.";
  declare_linear(p, layer + "ada_modulate_layer.proj.0", 2 * c.hidden, c.condition, b.ada_weight, b.ada_bias);
  declare_norm(p, qkv + "layer_norm", c.hidden, b.norm_attention);
  p.want(qkv + "q.weight", {inner, c.hidden}, b.q);
  p.want(qkv + "qx.weight", {inner, c.hidden}, b.q_text);
  p.want(qkv + "k.weight", {kv, c.hidden}, b.k);
  p.want(qkv + "v.weight", {kv, c.hidden}, b.v);
  p.want(attention + "linear_kv_xattn.weight", {2 * kv, c.text}, b.kv_text);
  p.want(attention + "linear_proj.weight", {c.hidden, 2 * inner}, b.projection);
  declare_norm(p, attention + "q_layernorm", c.head_dim, b.q_norm, at::kFloat);
  declare_norm(p, attention + "k_layernorm", c.head_dim, b.k_norm, at::kFloat);
  declare_norm(p, attention + "q_layernorm_xattn", c.head_dim, b.q_norm_text);
  declare_norm(p, attention + "k_layernorm_xattn", c.head_dim, b.k_norm_text);
  declare_norm(p, layer + "self_attn_post_norm", c.hidden, b.post_attention, at::kFloat);
  declare_norm(p, layer + "mlp.layer_norm", c.hidden, b.norm_ffn);
  p.want(layer + "mlp.linear_fc1.weight", {c.ffn * (c.gated_ffn ? 2 : 1), c.hidden}, b.fc1);
  p.want(layer + "mlp.linear_fc2.weight", {c.hidden, c.ffn}, b.fc2);
  declare_norm(p, layer + "mlp_post_norm", c.hidden, b.post_ffn, at::kFloat);
}

}  // namespace

void Weights::declare(const MagiConfig& c, Parameters& p) {
  const int64_t channels = c.network_channels();
  p.want("x_embedder.weight", {c.hidden, channels, 1, c.patch, c.patch}, patch, at::kFloat);
  declare_linear(p, "t_embedder.mlp.0", c.condition, time_waves, time1, time1_bias, at::kFloat);
  declare_linear(p, "t_embedder.mlp.2", c.condition, c.condition, time2, time2_bias, at::kFloat);
  declare_linear(p, "y_embedder.y_proj_xattn.0", c.text, c.caption_channels, text, text_bias, at::kFloat);
  declare_linear(p, "y_embedder.y_proj_adaln.0", c.condition, c.caption_channels, text_condition,
                 text_condition_bias, at::kFloat);
  p.want("y_embedder.null_caption_embedding", {c.caption_length, c.caption_channels}, null_caption,
         at::kFloat);
  p.want("rope.bands", {c.head_dim / 8}, bands, at::kFloat);
  blocks.resize(static_cast<size_t>(c.layers));
  for (size_t i = 0; i < blocks.size(); ++i)
    declare_block(c, p, "videodit_blocks.layers." + std::to_string(i) + ".", blocks[i]);
  declare_norm(p, "videodit_blocks.final_layernorm", c.hidden, final_norm, at::kFloat);
  p.want("final_linear.linear.weight", {channels * c.patch * c.patch, c.hidden}, final_linear, at::kFloat);
}

void Weights::share(const Weights& other) {
  for (size_t i = 0; i < blocks.size(); ++i)
    for (Matrix Block::*one :
         {&Block::qkv, &Block::q_text, &Block::kv_text, &Block::projection, &Block::fc1, &Block::fc2})
      if (!(blocks[i].*one).values.defined()) blocks[i].*one = other.blocks[i].*one;
}

void add_joined(int layers, std::set<std::string>& touched) {
  for (int i = 0; i < layers; ++i) {
    const std::string layer = "videodit_blocks.layers." + std::to_string(i) + ".";
    touched.insert(layer + "ada_modulate_layer.proj.0.weight");
    const std::string qkv = layer + "self_attention.linear_qkv.";
    const std::string names[] = {qkv + "q.weight", qkv + "k.weight", qkv + "v.weight"};
    bool one = false;
    for (const std::string& name : names) one = one || touched.contains(name);
    if (one) touched.insert(std::begin(names), std::end(names));
  }
}

void Weights::finish(const MagiConfig& c) {
  timestep_frequencies =
      (c.timestep_frequencies.defined() ? c.timestep_frequencies : magi_timestep_frequencies())
          .to(time1.device());
  std::vector<at::Tensor> ada_weights, ada_biases;
  for (Block& b : blocks) {
    for (Norm* norm : {&b.q_norm, &b.k_norm, &b.q_norm_text, &b.k_norm_text, &b.post_attention, &b.post_ffn})
      norm->weight.add_(1);
    const auto heads = [&](const at::Tensor& q, const at::Tensor& k) {
      return at::cat({q.expand({c.heads, -1}), k.expand({c.kv_heads, -1})});
    };
    b.qk_norm = {heads(b.q_norm.weight, b.k_norm.weight), heads(b.q_norm.bias, b.k_norm.bias)};
    b.q_norm = b.k_norm = {};
    if (b.q.values.defined()) b.qkv = Matrix::joined({&b.q, &b.k, &b.v});
    b.q = b.k = b.v = {};
    ada_weights.push_back(std::move(b.ada_weight));
    ada_biases.push_back(std::move(b.ada_bias));
  }
  ada_weight = at::cat(ada_weights);
  ada_bias = at::cat(ada_biases);
  final_norm.weight.add_(1);
}

}  // namespace magi
}  // namespace flowcache
