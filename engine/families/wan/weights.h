// SPDX-License-Identifier: LGPL-2.1-or-later
// A Wan checkpoint on its device, in the layout that the blocks use.
#pragma once

#include <set>
#include <string>
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

// Weights that are there already, in which only some are to be other ones.
struct Before {
  const Weights& weights;
  const std::set<std::string>& touched;  // names of those that are not taken from `weights`
};

// before: null, or shares the matrices that it does not touch. Throws FC_ERROR_MODEL with every key that does not fit.
Weights prepare(const Config& config, WeightMap map, Precision precision, at::Device device,
                const Before* before = nullptr);

// Transformer::add_joined() of a Wan network.
void add_joined(const Config& config, std::set<std::string>& touched);

}  // namespace flowcache::wan
