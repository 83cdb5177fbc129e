// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/text/t5.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/process_end.h"
#include "package/deferred.h"

namespace flowcache {
namespace {

// The key names of one project. "%" stands for the number of a block.
struct Names {
  const char *embedding, *norm_attention, *q, *k, *v, *o, *positions, *norm_ffn, *gate, *up, *down,
      *final_norm;
};

const Names wan_names = {"token_embedding.weight",
                         "blocks.%.norm1.weight",
                         "blocks.%.attn.q.weight",
                         "blocks.%.attn.k.weight",
                         "blocks.%.attn.v.weight",
                         "blocks.%.attn.o.weight",
                         "blocks.%.pos_embedding.embedding.weight",
                         "blocks.%.norm2.weight",
                         "blocks.%.ffn.gate.0.weight",
                         "blocks.%.ffn.fc1.weight",
                         "blocks.%.ffn.fc2.weight",
                         "norm.weight"};
const Names huggingface_names = {"shared.weight",
                                 "encoder.block.%.layer.0.layer_norm.weight",
                                 "encoder.block.%.layer.0.SelfAttention.q.weight",
                                 "encoder.block.%.layer.0.SelfAttention.k.weight",
                                 "encoder.block.%.layer.0.SelfAttention.v.weight",
                                 "encoder.block.%.layer.0.SelfAttention.o.weight",
                                 "encoder.block.%.layer.0.SelfAttention.relative_attention_bias.weight",
                                 "encoder.block.%.layer.1.layer_norm.weight",
                                 "encoder.block.%.layer.1.DenseReluDense.wi_0.weight",
                                 "encoder.block.%.layer.1.DenseReluDense.wi_1.weight",
                                 "encoder.block.%.layer.1.DenseReluDense.wo.weight",
                                 "encoder.final_layer_norm.weight"};

const Names& names_of(T5Naming naming) {
  return naming == T5Naming::wan ? wan_names : huggingface_names;
}

std::string layer_key(std::string pattern, int layer) {
  return pattern.replace(pattern.find('%'), 1, std::to_string(layer));
}

// A second name of the embedding: the library that wrote the checkpoint stores it twice.
constexpr const char* tied_embedding = "encoder.embed_tokens.weight";

// UMT5's blocks have a table of positions each (arXiv 2304.09151, section 3). A config.json of transformers names the
// model in one of two fields.
bool is_umt5(const nlohmann::json& config) {
  if (config.value("model_type", std::string()) == "umt5") return true;
  const auto architectures = config.value("architectures", nlohmann::json::array());
  return std::any_of(architectures.begin(), architectures.end(), [](const nlohmann::json& one) {
    return one.is_string() && one.get<std::string>().starts_with("UMT5");
  });
}

int64_t positive(const nlohmann::json& config, const char* field) {
  if (!config.contains(field) || !config[field].is_number_integer() || config[field].get<int64_t>() < 1)
    throw Error(FC_ERROR_MODEL,
                std::string("text encoder: config needs a positive integer \"") + field + "\"");
  return config[field].get<int64_t>();
}

}  // namespace

T5Config T5Config::from_json(const nlohmann::json& config) {
  T5Config result;
  if (config.contains("d_model")) {
    result.naming = T5Naming::huggingface;
    result.vocabulary = positive(config, "vocab_size");
    result.dim = positive(config, "d_model");
    result.head_dim = positive(config, "d_kv");
    result.ffn_dim = positive(config, "d_ff");
    result.buckets = config.value("relative_attention_num_buckets", int64_t{32});
    result.max_distance = config.value("relative_attention_max_distance", int64_t{128});
    result.shared_positions = !is_umt5(config);
    result.eps = config.value("layer_norm_epsilon", 1e-6);
    const auto activation = config.value("feed_forward_proj", std::string("gated-gelu"));
    if (activation != "gated-gelu")
      throw Error(FC_ERROR_MODEL, "text encoder: feed_forward_proj \"" + activation +
                                      "\" is not known, only gated-gelu (T5 v1.1) is");
  } else {
    result.vocabulary = positive(config, "vocab");
    result.dim = positive(config, "dim");
    result.head_dim = positive(config, "dim_attn") / positive(config, "num_heads");
    result.ffn_dim = positive(config, "dim_ffn");
    result.buckets = config.value("num_buckets", int64_t{32});
    result.shared_positions = config.value("shared_pos", false);
  }
  result.heads = positive(config, "num_heads");
  result.layers = static_cast<int>(positive(config, "num_layers"));
  if (result.buckets < 4 || result.buckets % 2 != 0 || result.max_distance <= result.buckets / 4)
    throw Error(FC_ERROR_MODEL, "text encoder: " + std::to_string(result.buckets) +
                                    " position buckets up to distance " +
                                    std::to_string(result.max_distance) +
                                    " cannot be laid out; an even number of at least 4 is wanted");
  return result;
}

T5Config T5Config::of_section(const nlohmann::json& text) {
  T5Config result = from_json(text.value("config", nlohmann::json::object()));
  if (result.naming == T5Naming::huggingface && text.value("kind", "") == "umt5")
    result.shared_positions = false;
  return result;
}

std::vector<WeightSpec> T5Config::weights() const {
  const Names& names = names_of(naming);
  const int64_t inner = heads * head_dim;
  std::vector<WeightSpec> specs = {{names.embedding, {vocabulary, dim}}, {names.final_norm, {dim}}};
  if (naming == T5Naming::huggingface) specs.push_back({tied_embedding, {vocabulary, dim}, true});
  if (naming == T5Naming::wan && shared_positions)
    specs.push_back({"pos_embedding.embedding.weight", {buckets, heads}});
  for (int i = 0; i < layers; ++i) {
    for (const char* name : {names.q, names.k, names.v}) specs.push_back({layer_key(name, i), {inner, dim}});
    specs.push_back({layer_key(names.o, i), {dim, inner}});
    for (const char* name : {names.norm_attention, names.norm_ffn})
      specs.push_back({layer_key(name, i), {dim}});
    for (const char* name : {names.gate, names.up}) specs.push_back({layer_key(name, i), {ffn_dim, dim}});
    specs.push_back({layer_key(names.down, i), {dim, ffn_dim}});
    if (!shared_positions || (naming == T5Naming::huggingface && i == 0))
      specs.push_back({layer_key(names.positions, i), {buckets, heads}});
  }
  return specs;
}

int64_t t5_bucket(int64_t relative, int64_t buckets, int64_t max_distance) {
  const int64_t half = buckets / 2, exact = half / 2;
  const int64_t side = relative > 0 ? half : 0, distance = std::abs(relative);
  if (distance < exact) return side + distance;
  const double ratio = static_cast<double>(max_distance) / static_cast<double>(exact);
  // In fp32, as the checkpoints were trained: how the logarithm rounds decides about a bucket's border.
  const float steps = std::log(static_cast<float>(distance) / static_cast<float>(exact)) /
                      static_cast<float>(std::log(ratio)) * static_cast<float>(half - exact);
  return side + std::min(exact + static_cast<int64_t>(steps), half - 1);
}

T5Encoder::T5Encoder(const T5Config& config, WeightMap weights, at::ScalarType dtype, at::Device device,
                     const std::string& what)
    : config_(config), dtype_(dtype) {
  check_weights(weights, config.weights(), what);
  const Names& names = names_of(config.naming);
  const auto load = [&](const std::string& name) {
    return taken(weights, name, dtype).to(device, dtype, false, true);
  };
  embedding_ = load(names.embedding);
  final_norm_ = load(names.final_norm);
  at::Tensor shared;
  if (config.shared_positions)
    shared = load(config.naming == T5Naming::wan ? "pos_embedding.embedding.weight"
                                                 : layer_key(names.positions, 0));
  for (int i = 0; i < config.layers; ++i) {
    const auto at = [&](const char* name) { return load(layer_key(name, i)); };
    blocks_.push_back({at(names.norm_attention), at(names.q), at(names.k), at(names.v), at(names.o),
                       config.shared_positions ? shared : at(names.positions), at(names.norm_ffn),
                       at(names.gate), at(names.up), at(names.down)});
  }
}

at::Tensor T5Encoder::normalise(const at::Tensor& x, const at::Tensor& weight) const {
  const at::Tensor wide = x.to(at::kFloat);
  return (wide * at::rsqrt(wide.square().mean(-1, true) + config_.eps)).to(dtype_) * weight;
}

at::Tensor T5Encoder::position_bias(const at::Tensor& table, int64_t n) const {
  at::Tensor bucket = at::empty({2 * n - 1}, at::kLong);  // by relative position, shifted by n-1
  auto* values = bucket.data_ptr<int64_t>();
  for (int64_t i = 0; i < 2 * n - 1; ++i)
    values[i] = t5_bucket(i - (n - 1), config_.buckets, config_.max_distance);
  const at::Tensor position = at::arange(n, at::kLong);
  const at::Tensor relative = position.unsqueeze(0) - position.unsqueeze(1) + (n - 1);  // key - query
  const at::Tensor index = bucket.index_select(0, relative.reshape(-1)).to(table.device());
  return table.index_select(0, index).view({n, n, config_.heads}).permute({2, 0, 1});
}

at::Tensor T5Encoder::attend(const Block& block, const at::Tensor& x, const at::Tensor& bias) const {
  const int64_t n = x.size(0);
  const auto split = [&](const at::Tensor& weight) {
    return at::linear(x, weight).view({n, config_.heads, config_.head_dim}).transpose(0, 1);
  };
  // T5 does not scale the logits; its weights were initialised for that.
  const at::Tensor logits = at::matmul(split(block.q), split(block.k).transpose(1, 2)) + bias;
  const at::Tensor weights = at::softmax(logits.to(at::kFloat), -1).to(dtype_);
  return at::linear(at::matmul(weights, split(block.v)).transpose(0, 1).reshape({n, -1}), block.o);
}

at::Tensor T5Encoder::encode(const at::Tensor& ids, const at::Tensor& mask) const {
  const at::Tensor index = ids.to(embedding_.device(), at::kLong);
  if (index.numel() > 0 &&
      (index.min().item<int64_t>() < 0 || index.max().item<int64_t>() >= config_.vocabulary))
    throw Error(FC_ERROR_ARGUMENT, "text encoder: token id " + std::to_string(index.max().item<int64_t>()) +
                                       " is outside its table of " + std::to_string(config_.vocabulary) +
                                       ": the tokenizer belongs to another model");
  const int64_t n = index.size(0);
  const at::Tensor hidden_keys = mask.to(embedding_.device()).eq(0).view({1, 1, n});
  const double lowest = dtype_ == at::kFloat  ? std::numeric_limits<float>::lowest()
                        : dtype_ == at::kHalf ? -65504.0
                                              : -3.3895313892515355e38;
  at::Tensor x = embedding_.index_select(0, index), bias;
  for (const Block& block : blocks_) {
    stop_at_process_end();
    if (!bias.defined() || !config_.shared_positions)
      bias = position_bias(block.positions, n).masked_fill(hidden_keys, lowest);
    x = x + attend(block, normalise(x, block.norm_attention), bias);
    const at::Tensor y = normalise(x, block.norm_ffn);
    x = x + at::linear(at::linear(y, block.up) * at::gelu(at::linear(y, block.gate), "tanh"), block.down);
  }
  return normalise(x, final_norm_).to(at::kFloat);
}

}  // namespace flowcache
