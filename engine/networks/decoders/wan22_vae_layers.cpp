// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/decoders/wan22_vae_layers.h"

#include "base/error.h"
#include "networks/decoders/wan_vae.h"

namespace flowcache::wan_vae {
namespace {

// How a level changes the size of a clip.
struct Resize {
  bool space = false;  // height and width by two
  bool time = false;   // the number of frames by two, except for the clip's first
};

// By how much.
struct Factors {
  explicit Factors(Resize resize) : time(resize.time ? 2 : 1), space(resize.space ? 2 : 1) {}
  int64_t all() const { return time * space * space; }
  int64_t time, space;
};

// Numbers the places that a value becomes through all channels: those of one channel first by time, then by row and column.
at::Tensor spread(const at::Tensor& x, int64_t out, const Factors& by, bool first) {
  const int64_t in = x.size(1), t = x.size(2), h = x.size(3), w = x.size(4), copies = out * by.all() / in;
  const at::Tensor large = x.unsqueeze(2)
                               .expand({1, in, copies, t, h, w})
                               .reshape({1, out, by.time, by.space, by.space, t, h, w})
                               .permute({0, 1, 5, 2, 6, 3, 7, 4})
                               .reshape({1, out, t * by.time, h * by.space, w * by.space});
  // The clip's first frame becomes one, the last of those that it would be.
  return first ? large.narrow(2, by.time - 1, large.size(2) - (by.time - 1)) : large;
}

// The same numbering, read the other way.
at::Tensor gathered(const at::Tensor& x, int64_t out, const Factors& by) {
  const int64_t missing = (by.time - x.size(2) % by.time) % by.time;
  const at::Tensor whole = missing == 0 ? x : at::constant_pad_nd(x, {0, 0, 0, 0, missing, 0});
  const int64_t in = x.size(1), t = whole.size(2) / by.time, h = x.size(3) / by.space,
                w = x.size(4) / by.space;
  return whole.view({1, in, t, by.time, h, by.space, w, by.space})
      .permute({0, 1, 3, 5, 7, 2, 4, 6})
      .reshape({1, out, in * by.all() / out, t, h, w})
      .mean(2);
}

class Level : public Layer {
 public:
  Level(int64_t out, Resize resize) : out_(out), factors_(resize) {}

 protected:
  // The way around divides all values of a place among those that they become.
  static void check_divides(const std::string& name, int64_t values, int64_t channels) {
    if (values % channels != 0)
      throw Error(FC_ERROR_MODEL, "wan22_vae: " + name + " has " + std::to_string(values) +
                                      " values for each place, no multiple of its " +
                                      std::to_string(channels) + " channels; correct dim_mult");
  }
  void add_blocks(Builder& builder, const std::string& name, int64_t in, int blocks) {
    for (int i = 0; i < blocks; ++i, in = out_)
      layers_.push_back(residual_block(builder, name + std::to_string(i), in, out_));
  }
  at::Tensor through(at::Tensor x, Memory& memory) const {
    for (const auto& layer : layers_) x = layer->forward(std::move(x), memory);
    return x;
  }

  int64_t out_;
  Factors factors_;
  Layers layers_;
};

// Residual blocks, then what enlarges. Around them each value goes into all places that it becomes. A level that enlarges
// nothing has no way around it.
class UpLevel final : public Level {
 public:
  UpLevel(Builder& builder, const std::string& name, int64_t in, int64_t out, int blocks, Resize resize)
      : Level(out, resize), enlarges_(resize.space) {
    if (enlarges_) check_divides(name, out * factors_.all(), in);
    add_blocks(builder, name + ".upsamples.", in, blocks);
    if (enlarges_)
      layers_.push_back(
          upsample(builder, name + ".upsamples." + std::to_string(blocks), out, out, resize.time));
  }
  at::Tensor forward(at::Tensor x, Memory& memory) const override {
    at::Tensor y = through(x, memory);
    return enlarges_ ? y.add_(spread(x, out_, factors_, memory.first)) : y;
  }

 private:
  bool enlarges_;
};

// Residual blocks, then what makes smaller. Around them goes the mean of the values that become one. In the time before a
// clip there are zeros.
class DownLevel final : public Level {
 public:
  DownLevel(Builder& builder, const std::string& name, int64_t in, int64_t out, int blocks, Resize resize)
      : Level(out, resize) {
    check_divides(name, in * factors_.all(), out);
    add_blocks(builder, name + ".downsamples.", in, blocks);
    if (resize.space)
      layers_.push_back(
          downsample(builder, name + ".downsamples." + std::to_string(blocks), out, resize.time));
  }
  at::Tensor forward(at::Tensor x, Memory& memory) const override {
    at::Tensor y = through(x, memory);
    return y.add_(gathered(x, out_, factors_));
  }
};

// Each square of side x side pixels becomes a pixel with side^2 times the channels: those of a channel lie together, column by
// column.
class SquaresToChannels final : public Layer {
 public:
  explicit SquaresToChannels(int64_t side) : side_(side) {}
  at::Tensor forward(at::Tensor x, Memory&) const override {
    const int64_t c = x.size(1), t = x.size(2), h = x.size(3) / side_, w = x.size(4) / side_;
    return x.view({1, c, t, h, side_, w, side_})
        .permute({0, 1, 6, 4, 2, 3, 5})
        .reshape({1, c * side_ * side_, t, h, w});
  }

 private:
  int64_t side_;
};

// And back.
class ChannelsToSquares final : public Layer {
 public:
  explicit ChannelsToSquares(int64_t side) : side_(side) {}
  at::Tensor forward(at::Tensor x, Memory&) const override {
    const int64_t c = x.size(1) / (side_ * side_), t = x.size(2), h = x.size(3), w = x.size(4);
    return x.view({1, c, side_, side_, t, h, w})
        .permute({0, 1, 4, 5, 3, 6, 2})
        .reshape({1, c, t, h * side_, w * side_});
  }

 private:
  int64_t side_;
};

using Kernel = std::array<int64_t, 3>;

void add_conv(Layers& layers, Builder& builder, const std::string& name, int64_t in, int64_t out,
              const Kernel& kernel) {
  layers.push_back(std::make_unique<CausalConv>(builder, name, in, out, kernel));
}

}  // namespace

Layers wan22_decoder(const WanVaeConfig& config, Builder& builder) {
  Layers layers;
  const size_t levels = config.dim_mult.size();
  int64_t channels = config.dec_dim * config.dim_mult.back();
  add_conv(layers, builder, "conv2", config.z_dim, config.z_dim, {1, 1, 1});
  add_conv(layers, builder, "decoder.conv1", config.z_dim, channels, {3, 3, 3});
  add_middle(layers, builder, "decoder.middle", channels);
  for (size_t level = 0; level < levels; ++level) {
    const int64_t out = config.dec_dim * config.dim_mult[levels - 1 - level];
    const bool last = level + 1 == levels;
    const Resize resize{.space = !last, .time = !last && config.temporal_downsample[levels - 2 - level]};
    layers.push_back(std::make_unique<UpLevel>(builder, "decoder.upsamples." + std::to_string(level),
                                               channels, out, config.res_blocks + 1, resize));
    channels = out;
  }
  layers.push_back(output_head(builder, "decoder.head", channels, 3 * config.patch * config.patch));
  layers.push_back(std::make_unique<ChannelsToSquares>(config.patch));
  return layers;
}

Layers wan22_encoder(const WanVaeConfig& config, Builder& builder) {
  Layers layers;
  const size_t levels = config.dim_mult.size();
  int64_t channels = config.dim;
  layers.push_back(std::make_unique<SquaresToChannels>(config.patch));
  add_conv(layers, builder, "encoder.conv1", 3 * config.patch * config.patch, channels, {3, 3, 3});
  for (size_t level = 0; level < levels; ++level) {
    const int64_t out = config.dim * config.dim_mult[level];
    const bool last = level + 1 == levels;
    const Resize resize{.space = !last, .time = !last && config.temporal_downsample[level]};
    layers.push_back(std::make_unique<DownLevel>(builder, "encoder.downsamples." + std::to_string(level),
                                                 channels, out, config.res_blocks, resize));
    channels = out;
  }
  add_middle(layers, builder, "encoder.middle", channels);
  layers.push_back(output_head(builder, "encoder.head", channels, 2 * config.z_dim));
  add_conv(layers, builder, "conv1", 2 * config.z_dim, 2 * config.z_dim, {1, 1, 1});
  return layers;
}

}  // namespace flowcache::wan_vae
