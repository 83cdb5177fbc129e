// SPDX-License-Identifier: LGPL-2.1-or-later
// The layers of the Wan VAE's encoder and decoder. All tensors are [1, C, T, H, W].
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "networks/parameters.h"

namespace flowcache::wan_vae {

// What the causal layers remember of a clip: one entry for each layer, in the order of construction.
struct Memory {
  bool first = true;  // no frame of the clip has passed yet
  std::vector<at::Tensor> past;
};

// Gives each layer its place in Memory::past while a network is built.
struct Builder {
  Parameters& parameters;
  size_t layers_with_memory = 0;
};

class Layer {
 public:
  virtual ~Layer() = default;
  virtual at::Tensor forward(at::Tensor x, Memory& memory) const = 0;
};
using Layers = std::vector<std::unique_ptr<Layer>>;

// A 3D convolution that sees no later frame. In front of its input it puts the last kernel[0] - 1 frames of
// what passed before, or zeros at the start of a clip. kernel: {time, height, width}; rows and columns are
// padded so that the picture keeps its size.
class CausalConv final : public Layer {
 public:
  CausalConv(Builder& builder, const std::string& name, int64_t in, int64_t out,
             std::array<int64_t, 3> kernel);
  at::Tensor forward(at::Tensor x, Memory& memory) const override;

 private:
  at::Tensor weight_, bias_;
  std::array<int64_t, 3> kernel_;
  size_t place_ = 0;
};

// x / |x| over the channels, times sqrt(C) gamma. axes: how many dimensions follow the channels of gamma in
// the checkpoint: 3, or 2 where the reference works on single images.
class ChannelNorm {
 public:
  ChannelNorm(Builder& builder, const std::string& name, int64_t channels, int axes);
  at::Tensor forward(const at::Tensor& x) const;
  at::Tensor activated(const at::Tensor& x) const;  // and SiLU

 private:
  at::Tensor gamma_;
  double scale_;
};

std::unique_ptr<Layer> residual_block(Builder& builder, const std::string& name, int64_t in, int64_t out);
// Single-head self-attention within each frame.
std::unique_ptr<Layer> frame_attention(Builder& builder, const std::string& name, int64_t channels);
// Twice as high and wide, with `out` channels. time: twice as many frames too, except for the clip's first.
std::unique_ptr<Layer> upsample(Builder& builder, const std::string& name, int64_t in, int64_t out,
                                bool time);
// Half as high and wide. time: half as many frames too, except for the clip's first.
std::unique_ptr<Layer> downsample(Builder& builder, const std::string& name, int64_t channels, bool time);
// A residual block, attention within each frame, and a residual block.
void add_middle(Layers& layers, Builder& builder, const std::string& name, int64_t channels);
// ChannelNorm, SiLU, 3x3x3 convolution.
std::unique_ptr<Layer> output_head(Builder& builder, const std::string& name, int64_t in, int64_t out);

// Passes x through all layers and notes that the clip has begun.
at::Tensor run(const Layers& layers, at::Tensor x, Memory& memory);

}  // namespace flowcache::wan_vae
