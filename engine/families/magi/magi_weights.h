// SPDX-License-Identifier: LGPL-2.1-or-later
// MAGI-1's tensors by their published names. Used only by magi*.cpp.
#pragma once

#include <set>
#include <string>

#include "families/magi/magi.h"

namespace flowcache::magi {

struct Norm {
  at::Tensor weight, bias;
};

struct Block {
  at::Tensor ada_weight, ada_bias;  // condition -> two gates; only until finish()
  Norm norm_attention, q_norm, k_norm, q_norm_text, k_norm_text, post_attention, norm_ffn, post_ffn;
  Matrix q, k, v;  // only until finish()
  Matrix qkv;      // these three in one
  Norm qk_norm;    // [heads + kv_heads, head_dim], of queries and keys; q_norm and k_norm only until finish()
  Matrix q_text, kv_text, projection, fc1, fc2;
};

struct Weights {
  at::Tensor patch;  // [hidden, C, 1, p, p]
  at::Tensor time1, time1_bias, time2, time2_bias;
  at::Tensor timestep_frequencies;  // by finish()
  // Projections of the caption to tokens, and to the timestep condition.
  at::Tensor text, text_bias, text_condition, text_condition_bias;
  at::Tensor null_caption;  // [caption_length, caption_channels]
  at::Tensor bands;
  at::Tensor ada_weight, ada_bias;  // of all blocks, one after the other
  std::vector<Block> blocks;
  Norm final_norm;
  at::Tensor final_linear;

  // Declares every tensor. This object must not move until the load is done.
  void declare(const MagiConfig& config, Parameters& parameters);
  // Takes the matrices that were not loaded from other weights. Before finish(), after the load.
  void share(const Weights& other);
  // Call this after the load. Norms that were published as "1p" store weight - 1; this adds the 1. What is
  // multiplied with the same rows is joined.
  void finish(const MagiConfig& config);
};

// What finish() joins: queries, keys and values of a block, if one is among `touched`, and the gates of all blocks, which are
// always made anew.
void add_joined(int layers, std::set<std::string>& touched);

constexpr int64_t time_waves = 256;  // a cosine and a sine for each frequency

}  // namespace flowcache::magi
