// SPDX-License-Identifier: LGPL-2.1-or-later
#include "families/wan/weights.h"

#include "base/resources.h"
#include "package/deferred.h"

namespace flowcache::wan {

namespace {

class Reader {
 public:
  Reader(WeightMap map, Precision precision, at::Device device)
      : map_(std::move(map)), precision_(precision), device_(device) {}

  at::Tensor raw(const std::string& name) { return taken(map_, name); }
  at::Tensor fp32(const std::string& name) { return raw(name).to(device_, at::kFloat, false, true); }
  Linear linear(const std::string& name) {
    return make(raw(name + ".weight"), raw(name + ".bias"), precision_);
  }
  Linear linear_fp32(const std::string& name) {
    return make(raw(name + ".weight").flatten(1), raw(name + ".bias"), at::kFloat);
  }
  Linear stacked(const std::string& prefix, std::initializer_list<const char*> parts) {
    std::vector<at::Tensor> weight, bias;
    for (const char* part : parts) {
      weight.push_back(raw(prefix + part + ".weight"));
      bias.push_back(raw(prefix + part + ".bias"));
    }
    return make(at::cat(weight), at::cat(bias), precision_);
  }

 private:
  Linear make(const at::Tensor& weight, const at::Tensor& bias, Precision precision) const {
    return Linear(weight, bias, precision, device_);
  }
  WeightMap map_;
  Precision precision_;
  at::Device device_;
};

BlockWeights prepare_block(Reader& read, const std::string& name) {
  BlockWeights b;
  b.qkv = read.stacked(name + "self_attn.", {"q", "k", "v"});
  b.o = read.linear(name + "self_attn.o");
  b.cross_q = read.linear(name + "cross_attn.q");
  b.cross_k = read.linear(name + "cross_attn.k");
  b.cross_v = read.linear(name + "cross_attn.v");
  b.cross_o = read.linear(name + "cross_attn.o");
  b.ffn_in = read.linear(name + "ffn.0");
  b.ffn_out = read.linear(name + "ffn.2");
  b.norm_q = read.fp32(name + "self_attn.norm_q.weight");
  b.norm_k = read.fp32(name + "self_attn.norm_k.weight");
  b.cross_norm_q = read.fp32(name + "cross_attn.norm_q.weight");
  b.cross_norm_k = read.fp32(name + "cross_attn.norm_k.weight");
  b.norm3_weight = read.fp32(name + "norm3.weight").unsqueeze(0);
  b.norm3_bias = read.fp32(name + "norm3.bias").unsqueeze(0);
  return b;
}

}  // namespace

Weights prepare(const Config& config, WeightMap map, Precision precision, at::Device device) {
  check_weights(map, config.weights(), "wan transformer");
  Reader read(std::move(map), precision, device);
  Weights w;
  w.patch = read.linear_fp32("patch_embedding");
  w.text_in = read.linear_fp32("text_embedding.0");
  w.text_out = read.linear_fp32("text_embedding.2");
  w.time_in = read.linear_fp32("time_embedding.0");
  w.time_out = read.linear_fp32("time_embedding.2");
  w.time_projection = read.linear_fp32("time_projection.1");
  w.head = read.linear_fp32("head.head");
  std::vector<at::Tensor> modulation;
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string name = "blocks." + std::to_string(i) + ".";
    w.blocks.push_back(prepare_block(read, name));
    return_freed_memory();
    modulation.push_back(read.fp32(name + "modulation"));
  }
  w.modulation = at::cat(modulation);
  for (const int scale : {1, 4}) w.modulation.select(1, scale).add_(1.0);
  w.head_modulation = read.fp32("head.modulation").squeeze(0);
  w.head_modulation.select(0, 1).add_(1.0);
  return w;
}

}  // namespace flowcache::wan
