// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/decoders/taehv.h"

#include "base/error.h"
#include "base/process_end.h"
#include "networks/decoders/taehv_layers.h"
#include "networks/row_ranges.h"
#include "place_pixels.h"

namespace flowcache {
namespace taehv {
namespace {

at::Tensor run(const Conv& conv, const at::Tensor& x) {
  return at::conv2d(x, conv.weight, conv.bias, 1, conv.weight.size(2) / 2);
}

// [n, in, h, w] -> [n * factor, out, 2h, 2w]. relu: negative results become 0.
at::Tensor run(const Grow& grow, const at::Tensor& x, bool relu) {
  // x is padded by one on each side, so position p of the result is made of coarse rows p - 1 and p.
  const at::Tensor y = at::conv2d(x, grow.weight, {}, 1, 1)
                           .permute({0, 2, 3, 1})
                           .contiguous()
                           .unflatten(3, {grow.factor, 2, 2, grow.out});
  return place_phases(y, relu).permute({0, 3, 1, 2});
}

// Runs the layers with LibTorch's operators, on any device and in any type.
class TorchRunner final : public Runner {
 public:
  TorchRunner(const Config& config, Layers layers, at::ScalarType compute, at::Device device)
      : config_(config), layers_(std::move(layers)), compute_(compute), device_(device) {}

  at::Tensor decode(const at::Tensor& latents, State& state) const override {
    at::Tensor x = at::tanh(latents.to(device_, at::kFloat) * (config_.latent_scale / 3)) * 3;
    x = run(layers_.first, x.to(compute_).contiguous(at::MemoryFormat::ChannelsLast)).relu_();
    size_t memory = 0;
    for (const Stage& stage : layers_.stages) {
      stop_at_process_end();
      for (const MemBlock& block : stage.blocks) {
        if (state.last.size() == memory) state.last.emplace_back();
        x = remember(block, x, state.last[memory++]);
      }
      if (&stage != &layers_.stages.back()) x = run(stage.grow, x, /*relu=*/false);
    }
    return finish(x);
  }

 private:
  // A memory block sees each frame and the one before it. Before the first stands the remembered one, or
  // zeros at the start of a stream.
  at::Tensor remember(const MemBlock& block, const at::Tensor& x, at::Tensor& last) const {
    if (!last.defined()) last = at::zeros_like(x.narrow(0, 0, 1));
    const at::Tensor past = at::cat({last, x.narrow(0, 0, x.size(0) - 1)});
    last = x.narrow(0, x.size(0) - 1, 1).clone();
    at::Tensor y = run(block.first, at::cat({x, past}, 1)).relu_();
    y = run(block.second, y).relu_();
    return run(block.third, y).add_(x).relu_();
  }

  // The last stage's growth and the output convolution, frame by frame. They are most of the work, and one
  // frame at a time needs little memory.
  at::Tensor finish(const at::Tensor& x) const {
    const Grow& grow = layers_.stages.back().grow;
    const int64_t scale = 2 * config_.patch_size;
    at::Tensor frames = at::empty({x.size(0) * grow.factor, 3, x.size(2) * scale, x.size(3) * scale},
                                  x.options().dtype(at::kFloat));
    for_row_ranges(device_, x.size(0), /*slice=*/0,
                   [&](int64_t first, int64_t count) {
                     const at::Tensor y =
                         run(layers_.last, run(grow, x.narrow(0, first, count), /*relu=*/true));
                     place_patches(y.permute({0, 2, 3, 1}).contiguous(), config_.patch_size,
                                   frames.narrow(0, first * grow.factor, count * grow.factor));
                   },
                   {1, 1});
    return frames;
  }

  Config config_;
  Layers layers_;
  at::ScalarType compute_;
  at::Device device_;
};

class Taehv final : public Decoder {
 public:
  Taehv(const Config& config, const WeightMap& weights, at::ScalarType compute, at::Device device)
      : config_(config), runner_(make_runner(config, weights, compute, device)) {
    if (config.latents_mean.empty()) return;
    mean_ = per_channel(config.latents_mean, device);
    std_ = per_channel(config.latents_std, device);
  }

  std::unique_ptr<DecoderState> open() const override {
    auto state = std::make_unique<State>();
    state->to_trim = config_.frames_to_trim;
    return state;
  }

  at::Tensor decode(const at::Tensor& latents, DecoderState& state) const override {
    auto& own = static_cast<State&>(state);
    at::Tensor frames = decode_raw(latents, own).clamp_(0, 1);
    const int64_t trim = std::min(own.to_trim, frames.size(0));
    own.to_trim -= trim;
    return frames.narrow(0, trim, frames.size(0) - trim);
  }

  at::Tensor decode_raw(const at::Tensor& latents, State& state) const {
    if (latents.dim() != 4 || latents.size(1) != config_.latent_channels)
      throw Error(FC_ERROR_INTERNAL, "taehv: latents must be [frames, " +
                                         std::to_string(config_.latent_channels) + ", rows, columns]");
    const at::Tensor scaled =
        mean_.defined() ? latents.to(std_.device(), at::kFloat) * std_ + mean_ : latents;
    if (config_.slice_frames == 0 || config_.slice_frames >= latents.size(0))
      return runner_->decode(scaled, state);
    std::vector<at::Tensor> frames;
    for (const at::Tensor& slice : scaled.split(config_.slice_frames))
      frames.push_back(runner_->decode(slice, state));
    return at::cat(frames);
  }

  int64_t time_scale() const override { return config_.time_scale(); }
  int64_t space_scale() const override { return 8 * config_.patch_size; }

 private:
  static std::unique_ptr<Runner> make_runner(const Config& config, const WeightMap& weights,
                                             at::ScalarType compute, at::Device device) {
    Layers layers = read_layers(config, weights, compute, device);
    if (Pictures::run_on(device, compute)) return make_picture_runner(config, layers, compute);
    return std::make_unique<TorchRunner>(config, std::move(layers), compute, device);
  }

  static at::Tensor per_channel(const std::vector<double>& values, at::Device device) {
    return at::tensor(values, at::kDouble).to(device, at::kFloat).view({-1, 1, 1});
  }

  Config config_;
  std::unique_ptr<Runner> runner_;
  at::Tensor mean_, std_;  // [channels, 1, 1] fp32; undefined: latents are decoded as they are
};

}  // namespace
}  // namespace taehv

std::unique_ptr<Decoder> make_taehv(const nlohmann::json& config, WeightMap weights, at::ScalarType compute,
                                    at::Device device) {
  if (compute != at::kFloat && compute != at::kBFloat16)
    throw Error(FC_ERROR_ARGUMENT,
                std::string("taehv computes in fp32 or bf16, not in ") + c10::toString(compute));
  std::erase_if(weights, [](const auto& entry) { return entry.first.starts_with("encoder."); });
  return std::make_unique<taehv::Taehv>(taehv::Config::from_json(config), weights, compute, device);
}

at::Tensor taehv_decode_raw(const Decoder& decoder, const at::Tensor& latents, DecoderState& state) {
  return static_cast<const taehv::Taehv&>(decoder).decode_raw(latents, static_cast<taehv::State&>(state));
}

}  // namespace flowcache
