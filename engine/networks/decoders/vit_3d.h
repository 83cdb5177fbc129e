// SPDX-License-Identifier: LGPL-2.1-or-later
// The vision transformer in MAGI-1's VAE. Its attention normalises queries, keys and values, and not its
// input; the feed-forward normalises its input.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "networks/parameters.h"

namespace flowcache {

class Vit3d {
 public:
  struct Shape {
    int64_t dim, depth, heads, ffn;
    int64_t grid_frames, grid_size;  // frames, and rows and columns, of the position table
  };
  // Declares its tensors, whose keys begin with `prefix`. Must stay at its address
  // until parameters are loaded.
  Vit3d(const Shape& shape, Parameters& parameters, const std::string& prefix);

  // cells [T, H, W, dim] -> the same shape: positions are added, then come the blocks and a norm. The class
  // token is neither given nor returned.
  at::Tensor forward(const at::Tensor& cells) const;

 private:
  struct Block {
    at::Tensor qkv, qkv_bias, proj, proj_bias, norm, norm_bias, fc1, fc1_bias, fc2, fc2_bias;
  };
  at::Tensor attend(const Block& block, const at::Tensor& x) const;
  at::Tensor positions(int64_t frames, int64_t rows, int64_t columns) const;

  Shape shape_;
  at::Tensor class_token_, positions_, norm_, norm_bias_;
  std::vector<Block> blocks_;
};

}  // namespace flowcache
