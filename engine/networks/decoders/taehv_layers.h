// SPDX-License-Identifier: LGPL-2.1-or-later
// The layers of a TAEHV decoder, as read from its checkpoint. Two runners share them: taehv.cpp runs them
// with LibTorch's operators, taehv_pictures.cpp with this project's CPU kernels.
#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "networks/decoders/picture.h"
#include "networks/decoders/taehv.h"

namespace flowcache::taehv {

struct Config {
  int64_t latent_channels = 16, patch_size = 1, frames_to_trim = 0, slice_frames = 0;
  std::vector<int64_t> widths = {256, 128, 64, 64}, mem_blocks = {3, 3, 3};
  std::array<bool, 3> grows = {false, true, true};
  double latent_scale = 1;
  std::vector<double> latents_mean, latents_std;  // a number for each channel, or none

  int64_t time_scale() const { return (grows[0] ? 2 : 1) * (grows[1] ? 2 : 1) * (grows[2] ? 2 : 1); }

  static Config from_json(const nlohmann::json& json);
};

struct Conv {
  at::Tensor weight, bias;
};

// A memory block: a residual block over a frame and the one before it.
struct MemBlock {
  Conv first, second, third;
};

// Growth to twice the rows and columns, `factor` times the frames and another width. The checkpoint has three
// layers for this: nearest upsampling, a 1x1 convolution to `factor` frames, and a 3x3 convolution. All three
// are linear, so they are folded into one. Of the nine taps on the fine grid, those that fall on the same
// coarse pixel are added up. Each of the four fine pixels of a coarse one (its "phases") then is a 2x2
// convolution of the coarse grid. That is four ninths of the work, and nothing is upsampled.
struct Grow {
  at::Tensor weight;  // [factor * 4 * out, in, 2, 2]: frame, phase row, phase column, channel
  int64_t factor = 1, out = 0;
};

struct Stage {
  std::vector<MemBlock> blocks;
  Grow grow;
};

struct Layers {
  Conv first, last;
  std::vector<Stage> stages;
};

// Reads the layers as type `compute`, on `device`, channels last. Throws FC_ERROR_MODEL with every key that
// does not fit.
Layers read_layers(const Config& config, const WeightMap& weights, at::ScalarType compute, at::Device device);

// The last frame that each memory block saw, in the form of the runner that is used. Undefined before a
// stream's first frame.
class State final : public DecoderState {
 public:
  std::unique_ptr<DecoderState> copy() const override { return std::make_unique<State>(*this); }
  std::vector<at::Tensor> last;  // [1, C, h, w]
  std::vector<Pictures> last_pictures;
  int64_t to_trim = 0;
};

// Runs the layers of one model. Immutable; any thread.
class Runner {
 public:
  virtual ~Runner() = default;
  // [n, c, h, w] fp32 -> [n * time scale, 3, H, W] fp32, neither trimmed nor clamped.
  virtual at::Tensor decode(const at::Tensor& latents, State& state) const = 0;
};
std::unique_ptr<Runner> make_picture_runner(const Config& config, const Layers& layers,
                                            at::ScalarType compute);

}  // namespace flowcache::taehv
