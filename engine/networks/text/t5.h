// SPDX-License-Identifier: LGPL-2.1-or-later
// The encoder of T5 (arXiv 1910.10683) in its v1.1 form. Two text encoders are made of it: UMT5-XXL (Wan,
// SkyReels-V2) and T5-v1.1-XXL (MAGI-1). They differ in the names of their weights, and in whether each block
// has a table of relative positions (UMT5) or all share the first block's.
#pragma once

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "package/safetensors.h"

namespace flowcache {

// Whose key names the weights have.
enum class T5Naming {
  wan,          // models_t5_umt5-xxl-enc: blocks.N.attn.q.weight, a position table in every block
  huggingface,  // T5EncoderModel, UMT5EncoderModel: encoder.block.N.layer.0.SelfAttention.q.weight
};

struct T5Config {
  T5Naming naming = T5Naming::wan;
  int64_t vocabulary = 0, dim = 0, heads = 0, head_dim = 0, ffn_dim = 0;
  int layers = 0;
  int64_t buckets = 32, max_distance = 128;
  bool shared_positions = false;
  double eps = 1e-6;

  // Reads a config.json of either project. Throws FC_ERROR_MODEL for a missing or impossible field.
  static T5Config from_json(const nlohmann::json& config);
  // Reads `config` of the "text" of a model.json, whose `kind` tells UMT5 from T5 if the config does not.
  static T5Config of_section(const nlohmann::json& text);
  // Every key with its shape.
  std::vector<WeightSpec> weights() const;
};

// The bucket of a relative position (key index - query index), 0..buckets-1. Half of the buckets are for each
// sign. Small distances have a bucket each, larger ones share buckets on a logarithmic scale up to
// max_distance, and all that lie further are in the last.
int64_t t5_bucket(int64_t relative, int64_t buckets, int64_t max_distance);

// Immutable; any thread.
class T5Encoder {
 public:
  // Copies the weights to `device` as `dtype`. Norms are always computed in fp32. Throws FC_ERROR_MODEL with
  // every missing, unexpected or misshaped key; `what` names the file in the message.
  T5Encoder(const T5Config& config, WeightMap weights, at::ScalarType dtype, at::Device device,
            const std::string& what);

  // ids [n] int64; mask [n] int64 or bool, not zero for a real token. Returns [n, dim] fp32 on the weights'
  // device, one row for each position; rows where the mask is 0 have no meaning. Throws FC_ERROR_ARGUMENT for
  // an id outside the table.
  at::Tensor encode(const at::Tensor& ids, const at::Tensor& mask) const;

  const T5Config& config() const { return config_; }

 private:
  struct Block {
    at::Tensor norm_attention, q, k, v, o, positions;  // positions [buckets, heads]; undefined where shared
    at::Tensor norm_ffn, gate, up, down;
  };
  at::Tensor attend(const Block& block, const at::Tensor& x, const at::Tensor& bias) const;
  at::Tensor normalise(const at::Tensor& x, const at::Tensor& weight) const;
  at::Tensor position_bias(const at::Tensor& table, int64_t n) const;  // [heads, n, n]

  T5Config config_;
  at::ScalarType dtype_;
  at::Tensor embedding_, final_norm_;
  std::vector<Block> blocks_;
};

}  // namespace flowcache
