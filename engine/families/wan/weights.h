// SPDX-License-Identifier: LGPL-2.1-or-later
// A Wan checkpoint on its device, in the layout that the blocks use.
#pragma once

#include <vector>

#include "families/wan/config.h"
#include "networks/linear.h"

namespace flowcache::wan {

struct BlockWeights {
  Linear qkv, o;                              // self-attention; qkv is the three projections in one matrix
  Linear cross_q, cross_k, cross_v, cross_o;  // attention over the text
  Linear ffn_in, ffn_out;
  at::Tensor norm_q, norm_k, cross_norm_q, cross_norm_k;  // [dim] fp32
  at::Tensor norm3_weight, norm3_bias;                    // [1, dim] fp32
};

struct Weights {
  Linear patch, text_in, text_out, time_in, time_out, time_projection, head;  // fp32
  std::vector<BlockWeights> blocks;
  // What each block adds to e0, and the head to e: [layers, 6, dim] and [2, dim] fp32. Scales already include
  // their 1.
  at::Tensor modulation, head_modulation;
};

// Throws FC_ERROR_MODEL with every key that does not fit.
Weights prepare(const Config& config, WeightMap map, Precision precision, at::Device device);

}  // namespace flowcache::wan
