// SPDX-License-Identifier: LGPL-2.1-or-later
// MAGI-1's tensors under their published names. Private to magi*.cpp.
#pragma once

#include "families/magi/magi.h"

namespace flowcache::magi {

struct Norm {
  at::Tensor weight, bias;
};

struct Block {
  at::Tensor ada_weight, ada_bias;  // condition -> two gates
  Norm norm_attention, q_norm, k_norm, q_norm_text, k_norm_text, post_attention, norm_ffn, post_ffn;
  Matrix q, q_text, k, v, kv_text, projection, fc1, fc2;
};

struct Weights {
  at::Tensor patch;  // [hidden, C, 1, p, p]
  at::Tensor time1, time1_bias, time2, time2_bias;
  at::Tensor text, text_bias, text_condition, text_condition_bias;  // caption -> tokens, caption -> condition
  at::Tensor null_caption;                                          // [caption_length, caption_channels]
  at::Tensor bands;
  std::vector<Block> blocks;
  Norm final_norm;
  at::Tensor final_linear;

  // Declares every tensor; `*this` must stay where it is until the load.
  void declare(const MagiConfig& config, Parameters& parameters);
  // After the load: the norms published as "1p" store weight - 1.
  void finish();
};

constexpr int64_t time_frequencies = 256;

}  // namespace flowcache::magi
