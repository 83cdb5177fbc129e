// SPDX-License-Identifier: LGPL-2.1-or-later
#include "families/wan/weights.h"

#include "base/resources.h"
#include "package/deferred.h"

namespace flowcache::wan {

namespace {

constexpr const char* stacked_parts[] = {"q", "k", "v"};

class Reader {
 public:
  Reader(WeightMap map, Precision precision, at::Device device, const Before* before)
      : map_(std::move(map)), precision_(precision), device_(device), before_(before) {}

  at::Tensor raw(const std::string& name) { return taken(map_, name); }
  at::Tensor fp32(const std::string& name) { return raw(name).to(device_, at::kFloat, false, true); }
  // old: the same layer of the weights before; null if there are none.
  Linear linear(const std::string& name, const Linear* old) {
    if (old && !touched(name)) return *old;
    return make(raw(name + ".weight"), raw(name + ".bias"), precision_);
  }
  Linear linear_fp32(const std::string& name, const Linear* old) {
    if (old && !touched(name)) return *old;
    return make(raw(name + ".weight").flatten(1), raw(name + ".bias"), at::kFloat);
  }
  Linear stacked(const std::string& prefix, const Linear* old) {
    bool changes = !old;
    for (const char* part : stacked_parts) changes = changes || touched(prefix + part);
    if (!changes) return *old;
    std::vector<at::Tensor> weight, bias;
    for (const char* part : stacked_parts) {
      weight.push_back(raw(prefix + part + ".weight"));
      bias.push_back(raw(prefix + part + ".bias"));
    }
    return make(at::cat(weight), at::cat(bias), precision_);
  }

 private:
  bool touched(const std::string& name) const {
    return before_ &&
           (before_->touched.contains(name + ".weight") || before_->touched.contains(name + ".bias"));
  }
  Linear make(const at::Tensor& weight, const at::Tensor& bias, Precision precision) const {
    return Linear(weight, bias, precision, device_);
  }
  WeightMap map_;
  Precision precision_;
  at::Device device_;
  const Before* before_;
};

// old: the block of the weights before; null if there are none.
BlockWeights prepare_block(Reader& read, const std::string& name, const BlockWeights* old) {
  BlockWeights b;
  b.qkv = read.stacked(name + "self_attn.", old ? &old->qkv : nullptr);
  b.o = read.linear(name + "self_attn.o", old ? &old->o : nullptr);
  b.cross_q = read.linear(name + "cross_attn.q", old ? &old->cross_q : nullptr);
  b.cross_k = read.linear(name + "cross_attn.k", old ? &old->cross_k : nullptr);
  b.cross_v = read.linear(name + "cross_attn.v", old ? &old->cross_v : nullptr);
  b.cross_o = read.linear(name + "cross_attn.o", old ? &old->cross_o : nullptr);
  b.ffn_in = read.linear(name + "ffn.0", old ? &old->ffn_in : nullptr);
  b.ffn_out = read.linear(name + "ffn.2", old ? &old->ffn_out : nullptr);
  b.norm_q = read.fp32(name + "self_attn.norm_q.weight");
  b.norm_k = read.fp32(name + "self_attn.norm_k.weight");
  b.cross_norm_q = read.fp32(name + "cross_attn.norm_q.weight");
  b.cross_norm_k = read.fp32(name + "cross_attn.norm_k.weight");
  b.norm3_weight = read.fp32(name + "norm3.weight").unsqueeze(0);
  b.norm3_bias = read.fp32(name + "norm3.bias").unsqueeze(0);
  return b;
}

}  // namespace

Weights prepare(const Config& config, WeightMap map, Precision precision, at::Device device,
                const Before* before) {
  check_weights(map, config.weights(), "wan transformer");
  Reader read(std::move(map), precision, device, before);
  const Weights* const old = before ? &before->weights : nullptr;
  Weights w;
  w.patch = read.linear_fp32("patch_embedding", old ? &old->patch : nullptr);
  w.text_in = read.linear_fp32("text_embedding.0", old ? &old->text_in : nullptr);
  w.text_out = read.linear_fp32("text_embedding.2", old ? &old->text_out : nullptr);
  w.time_in = read.linear_fp32("time_embedding.0", old ? &old->time_in : nullptr);
  w.time_out = read.linear_fp32("time_embedding.2", old ? &old->time_out : nullptr);
  w.time_projection = read.linear_fp32("time_projection.1", old ? &old->time_projection : nullptr);
  w.head = read.linear_fp32("head.head", old ? &old->head : nullptr);
  std::vector<at::Tensor> modulation;
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string name = "blocks." + std::to_string(i) + ".";
    w.blocks.push_back(prepare_block(read, name, old ? &old->blocks[i] : nullptr));
    return_freed_memory();
    modulation.push_back(read.fp32(name + "modulation"));
  }
  w.modulation = at::cat(modulation);
  for (const int scale : {1, 4}) w.modulation.select(1, scale).add_(1.0);
  w.head_modulation = read.fp32("head.modulation").squeeze(0);
  w.head_modulation.select(0, 1).add_(1.0);
  return w;
}

void add_joined(const Config& config, std::set<std::string>& touched) {
  constexpr std::string_view bias = ".bias";  // a layer's bias is laid out with its weight
  for (const std::string& name : std::set<std::string>(touched))
    if (name.ends_with(bias)) touched.insert(name.substr(0, name.size() - bias.size()) + ".weight");
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string name = "blocks." + std::to_string(i) + ".self_attn.";
    bool one = false;
    for (const char* part : stacked_parts)
      for (const char* kind : {".weight", ".bias"}) one = one || touched.contains(name + part + kind);
    for (const char* part : stacked_parts)
      if (one) touched.insert(name + part + ".weight");
  }
}

}  // namespace flowcache::wan
