// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/decoders/wan_vae_layers.h"

#include <cmath>

#include "base/process_end.h"

namespace flowcache::wan_vae {
namespace {

// [1, C, T, H, W] <-> [T, C, H, W], for layers that the reference runs image by image.
at::Tensor to_images(const at::Tensor& x) {
  return x.squeeze(0).transpose(0, 1);
}
at::Tensor to_clip(const at::Tensor& images) {
  return images.transpose(0, 1).unsqueeze(0);
}

struct ImageConv {
  ImageConv(Builder& builder, const std::string& name, int64_t in, int64_t out, int64_t kernel) {
    builder.parameters.want(name + ".weight", {out, in, kernel, kernel}, weight);
    builder.parameters.want(name + ".bias", {out}, bias);
  }
  at::Tensor weight, bias;
};

class ResidualBlock final : public Layer {
 public:
  ResidualBlock(Builder& builder, const std::string& name, int64_t in, int64_t out)
      : norm1_(builder, name + ".residual.0.gamma", in, 3),
        conv1_(builder, name + ".residual.2", in, out, {3, 3, 3}),
        norm2_(builder, name + ".residual.3.gamma", out, 3),
        conv2_(builder, name + ".residual.6", out, out, {3, 3, 3}) {
    if (in != out)
      shortcut_ =
          std::make_unique<CausalConv>(builder, name + ".shortcut", in, out, std::array<int64_t, 3>{1, 1, 1});
  }
  // As few tensors at once as possible: in the last blocks each is some hundred megabytes.
  at::Tensor forward(at::Tensor x, Memory& memory) const override {
    at::Tensor y = conv1_.forward(norm1_.activated(x), memory);
    y = norm2_.activated(y);
    y = conv2_.forward(std::move(y), memory);
    return y.add_(shortcut_ ? shortcut_->forward(std::move(x), memory) : x);
  }

 private:
  ChannelNorm norm1_;
  CausalConv conv1_;
  ChannelNorm norm2_;
  CausalConv conv2_;
  std::unique_ptr<CausalConv> shortcut_;
};

class FrameAttention final : public Layer {
 public:
  FrameAttention(Builder& builder, const std::string& name, int64_t channels)
      : norm_(builder, name + ".norm.gamma", channels, 2),
        qkv_(builder, name + ".to_qkv", channels, 3 * channels, 1),
        projection_(builder, name + ".proj", channels, channels, 1) {}
  at::Tensor forward(at::Tensor x, Memory&) const override {
    const at::Tensor images = to_images(norm_.forward(x));
    const at::Tensor qkv = at::conv2d(images, qkv_.weight, qkv_.bias).flatten(2).transpose(1, 2).unsqueeze(1);
    const auto parts = qkv.chunk(3, -1);
    const at::Tensor mixed = at::scaled_dot_product_attention(parts[0], parts[1], parts[2]);
    const at::Tensor y = mixed.squeeze(1).transpose(1, 2).reshape(images.sizes());
    return x + to_clip(at::conv2d(y, projection_.weight, projection_.bias));
  }

 private:
  ChannelNorm norm_;
  ImageConv qkv_, projection_;
};

class Upsample final : public Layer {
 public:
  Upsample(Builder& builder, const std::string& name, int64_t in, int64_t out, bool time)
      : conv_(builder, name + ".resample.1", in, out, 3) {
    if (time)
      time_ = std::make_unique<CausalConv>(builder, name + ".time_conv", in, 2 * in,
                                           std::array<int64_t, 3>{3, 1, 1});
  }
  at::Tensor forward(at::Tensor x, Memory& memory) const override {
    // The first frame is not doubled, and the convolution does not remember it.
    if (time_ && !memory.first) {
      const int64_t c = x.size(1), t = x.size(2), h = x.size(3), w = x.size(4);
      x = time_->forward(x, memory)
              .view({1, 2, c, t, h, w})
              .permute({0, 2, 3, 1, 4, 5})
              .reshape({1, c, 2 * t, h, w});
    }
    const at::Tensor images = to_images(x);
    const at::Tensor large =
        at::_upsample_nearest_exact2d(images, {2 * images.size(2), 2 * images.size(3)}, 2.0, 2.0);
    return to_clip(at::conv2d(large, conv_.weight, conv_.bias, 1, 1));
  }

 private:
  ImageConv conv_;
  std::unique_ptr<CausalConv> time_;
};

class Downsample final : public Layer {
 public:
  Downsample(Builder& builder, const std::string& name, int64_t channels, bool time)
      : conv_(builder, name + ".resample.1", channels, channels, 3), time_(time) {
    if (!time) return;
    builder.parameters.want(name + ".time_conv.weight", {channels, channels, 3, 1, 1}, time_weight_);
    builder.parameters.want(name + ".time_conv.bias", {channels}, time_bias_);
    place_ = builder.layers_with_memory++;
  }
  at::Tensor forward(at::Tensor x, Memory& memory) const override {
    const at::Tensor padded = at::constant_pad_nd(to_images(x), {0, 1, 0, 1});
    x = to_clip(at::conv2d(padded, conv_.weight, conv_.bias, 2));
    if (!time_) return x;
    at::Tensor& past = memory.past[place_];
    const at::Tensor before = past;
    past = x.narrow(2, x.size(2) - 1, 1).clone();
    if (memory.first) return x;
    return at::conv3d(at::cat({before, x}, 2), time_weight_, time_bias_, {2, 1, 1});
  }

 private:
  ImageConv conv_;
  bool time_;
  at::Tensor time_weight_, time_bias_;
  size_t place_ = 0;
};

class OutputHead final : public Layer {
 public:
  OutputHead(Builder& builder, const std::string& name, int64_t in, int64_t out)
      : norm_(builder, name + ".0.gamma", in, 3), conv_(builder, name + ".2", in, out, {3, 3, 3}) {}
  at::Tensor forward(at::Tensor x, Memory& memory) const override {
    return conv_.forward(norm_.activated(x), memory);
  }

 private:
  ChannelNorm norm_;
  CausalConv conv_;
};

}  // namespace

CausalConv::CausalConv(Builder& builder, const std::string& name, int64_t in, int64_t out,
                       std::array<int64_t, 3> kernel)
    : kernel_(kernel) {
  builder.parameters.want(name + ".weight", {out, in, kernel[0], kernel[1], kernel[2]}, weight_);
  builder.parameters.want(name + ".bias", {out}, bias_);
  if (kernel[0] > 1) place_ = builder.layers_with_memory++;
}

at::Tensor CausalConv::forward(at::Tensor x, Memory& memory) const {
  if (kernel_[0] > 1) {
    at::Tensor& past = memory.past[place_];
    if (!past.defined())
      past = at::zeros({x.size(0), x.size(1), kernel_[0] - 1, x.size(3), x.size(4)}, x.options());
    x = at::cat({past, x}, 2);
    past = x.narrow(2, x.size(2) - (kernel_[0] - 1), kernel_[0] - 1).clone();
  }
  return at::conv3d(x, weight_, bias_, 1, {0, kernel_[1] / 2, kernel_[2] / 2});
}

ChannelNorm::ChannelNorm(Builder& builder, const std::string& name, int64_t channels, int axes)
    : scale_(std::sqrt(static_cast<double>(channels))) {
  std::vector<int64_t> shape = {channels};
  shape.resize(1 + static_cast<size_t>(axes), 1);
  builder.parameters.want(name, shape, gamma_);
}

at::Tensor ChannelNorm::forward(const at::Tensor& x) const {
  const at::Tensor unit = x / x.norm(2, {1}, true).clamp_min(1e-12), gamma = gamma_.view({1, -1, 1, 1, 1});
  // On a GPU each factor is a pass over the memory of the whole picture.
  return x.is_cuda() ? unit.mul_(gamma * scale_) : unit.mul_(scale_).mul_(gamma);
}

at::Tensor ChannelNorm::activated(const at::Tensor& x) const {
  at::Tensor y = forward(x);
  return at::silu_(y);
}

std::unique_ptr<Layer> residual_block(Builder& builder, const std::string& name, int64_t in, int64_t out) {
  return std::make_unique<ResidualBlock>(builder, name, in, out);
}
std::unique_ptr<Layer> frame_attention(Builder& builder, const std::string& name, int64_t channels) {
  return std::make_unique<FrameAttention>(builder, name, channels);
}
std::unique_ptr<Layer> upsample(Builder& builder, const std::string& name, int64_t in, int64_t out,
                                bool time) {
  return std::make_unique<Upsample>(builder, name, in, out, time);
}
std::unique_ptr<Layer> downsample(Builder& builder, const std::string& name, int64_t channels, bool time) {
  return std::make_unique<Downsample>(builder, name, channels, time);
}
void add_middle(Layers& layers, Builder& builder, const std::string& name, int64_t channels) {
  layers.push_back(residual_block(builder, name + ".0", channels, channels));
  layers.push_back(frame_attention(builder, name + ".1", channels));
  layers.push_back(residual_block(builder, name + ".2", channels, channels));
}
std::unique_ptr<Layer> output_head(Builder& builder, const std::string& name, int64_t in, int64_t out) {
  return std::make_unique<OutputHead>(builder, name, in, out);
}

at::Tensor run(const Layers& layers, at::Tensor x, Memory& memory) {
  for (const auto& layer : layers) {
    stop_at_process_end();
    x = layer->forward(std::move(x), memory);
  }
  memory.first = false;
  return x;
}

}  // namespace flowcache::wan_vae
