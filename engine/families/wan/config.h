// SPDX-License-Identifier: LGPL-2.1-or-later
// The fields of a Wan config.json, and what follows from them.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "networks/transformer.h"
#include "package/safetensors.h"

namespace flowcache::wan {

struct Config {
  int64_t dim = 0, ffn_dim = 0, heads = 0, layers = 0;
  int64_t in_channels = 16, out_channels = 16;
  int64_t text_dim = 0, text_len = 0, freq_dim = 256;
  int64_t patch_height = 2, patch_width = 2;
  double eps = 1e-6, rope_spatial_scale = 1, rope_scale_exponent = 0;
  int64_t rope_reference_tokens = 1;

  // The distance in RoPE of neighbouring rows or columns, for a grid with this many tokens in a frame. It is
  // rope_spatial_scale for rope_reference_tokens; otherwise it is multiplied by (reference /
  // tokens)^exponent. Exponent 0 keeps the distance of neighbours, 0.5 keeps the extent of the picture.
  double rope_scale(int64_t tokens_per_frame) const;
  int64_t head_dim() const { return dim / heads; }
  int64_t patch_in() const { return in_channels * patch_height * patch_width; }
  int64_t patch_out() const { return out_channels * patch_height * patch_width; }

  // Throws FC_ERROR_MODEL for a field that is missing or out of range, and for variants that are not
  // supported (image to video, no norm of queries and keys, …).
  static Config from_json(const nlohmann::json& config);
  TransformerShape shape() const;
  std::vector<WeightSpec> weights() const;
};

}  // namespace flowcache::wan
