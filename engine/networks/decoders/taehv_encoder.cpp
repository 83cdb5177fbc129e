// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/decoders/taehv_encoder.h"

#include <algorithm>
#include <array>
#include <tuple>

#include "base/error.h"
#include "networks/decoders/taehv.h"
#include "networks/parameters.h"

namespace flowcache {
namespace {

struct EncoderConv {
  at::Tensor weight, bias;
  at::Tensor operator()(const at::Tensor& x, int64_t stride = 1) const {
    return at::conv2d(x, weight, bias, stride, weight.size(-1) / 2);
  }
};

// A memory block: three convolutions over a frame and the one before it, and the frame is added.
struct MemoryBlock {
  std::array<EncoderConv, 3> convs;
  // x: [T, C, H, W]. before: the frame before them, undefined at a clip's start; becomes their last one.
  at::Tensor operator()(const at::Tensor& x, at::Tensor& before) const {
    const at::Tensor first = before.defined() ? before : at::zeros_like(x.narrow(0, 0, 1));
    const at::Tensor past = at::cat({first, x.narrow(0, 0, x.size(0) - 1)});
    before = x.narrow(0, x.size(0) - 1, 1).clone();
    const at::Tensor y = convs[1](at::relu(convs[0](at::cat({x, past}, 1))).relu_());
    return at::relu(convs[2](at::relu(y)) + x);
  }
};

// Halves the picture. Where `pool` takes twice the channels, two frames become one.
struct Level {
  int64_t frames = 1;
  EncoderConv pool, half;
  std::array<MemoryBlock, 3> blocks;
};

struct TaehvEncoderState final : EncoderState {
  std::unique_ptr<EncoderState> copy() const override { return std::make_unique<TaehvEncoderState>(*this); }
  std::vector<at::Tensor> before;  // of each memory block
};

}  // namespace

struct TaehvEncoder::Net {
  TaehvEncoderConfig config;
  at::ScalarType dtype;
  at::Device device = at::kCPU;
  EncoderConv in, out;
  std::vector<Level> levels;
  int64_t group() const {  // frames that one latent frame is made of
    int64_t frames = 1;
    for (const Level& level : levels) frames *= level.frames;
    return frames;
  }
};

TaehvEncoderConfig TaehvEncoderConfig::from_json(const nlohmann::json& json) {
  TaehvEncoderConfig config;
  try {
    config.latent_channels = json.value("latent_channels", config.latent_channels);
    config.patch_size = json.value("patch_size", config.patch_size);
    config.width = json.value("width", config.width);
    config.time_downscale = json.value("encoder_time_downscale", config.time_downscale);
  } catch (const nlohmann::json::exception& error) {
    throw Error(FC_ERROR_MODEL, std::string("taehv encoder config: ") + error.what());
  }
  if (config.latent_channels < 1 || config.patch_size < 1 || config.width < 1 ||
      config.time_downscale.empty())
    throw Error(FC_ERROR_MODEL,
                "taehv encoder config: latent_channels, patch_size and width must be positive, "
                "encoder_time_downscale needs an entry a level");
  std::tie(config.latents_mean, config.latents_std) =
      latents_statistics(json, "taehv encoder", config.latent_channels);
  return config;
}

TaehvEncoder::TaehvEncoder(const TaehvEncoderConfig& config, const WeightMap& weights, at::ScalarType dtype,
                           at::Device device, const std::string& what)
    : net_(std::make_unique<Net>()) {
  Parameters parameters;
  int index = 0;
  const auto name = [&](const std::string& part) { return "encoder." + std::to_string(index) + part; };
  const auto conv = [&](EncoderConv& slot, const std::string& key, int64_t in, int64_t out, int64_t kernel,
                        bool bias) {
    parameters.want(key + ".weight", {out, in, kernel, kernel}, slot.weight);
    if (bias) parameters.want(key + ".bias", {out}, slot.bias);
  };
  const int64_t width = config.width;
  net_->config = config;
  net_->dtype = dtype;
  net_->device = device;
  net_->levels.resize(config.time_downscale.size());
  conv(net_->in, name(""), 3 * config.patch_size * config.patch_size, width, 3, true);
  index = 2;  // index 1 is an activation
  for (size_t i = 0; i < net_->levels.size(); ++i) {
    Level& level = net_->levels[i];
    level.frames = config.time_downscale[i] ? 2 : 1;
    conv(level.pool, name(".conv"), width * level.frames, width, 1, false);
    ++index;
    conv(level.half, name(""), width, width, 3, false);
    for (MemoryBlock& block : level.blocks) {
      ++index;
      for (int c = 0; c < 3; ++c)
        conv(block.convs[static_cast<size_t>(c)], name(".conv." + std::to_string(2 * c)),
             c == 0 ? 2 * width : width, width, 3, true);
    }
    ++index;
  }
  conv(net_->out, name(""), width, config.latent_channels, 3, true);
  parameters.load(without_prefixes(weights, {"decoder."}), dtype, device, what);
}

TaehvEncoder::~TaehvEncoder() = default;

at::Tensor TaehvEncoder::encode(const at::Tensor& frames) const {
  const int64_t group = net_->group(), n = frames.size(0);
  const int64_t rest = n % group;
  return encode_next(
      rest == 0 ? frames : at::cat({frames, frames.narrow(0, n - 1, 1).expand({group - rest, -1, -1, -1})}),
      *open());
}

std::unique_ptr<EncoderState> TaehvEncoder::open() const {
  auto state = std::make_unique<TaehvEncoderState>();
  for (const Level& level : net_->levels) state->before.resize(state->before.size() + level.blocks.size());
  return state;
}

int64_t TaehvEncoder::frames_for(int64_t latents, const EncoderState&) const {
  return latents * net_->group();
}

at::Tensor TaehvEncoder::encode_next(const at::Tensor& frames, EncoderState& state) const {
  const TaehvEncoderConfig& config = net_->config;
  const int64_t cell = config.patch_size << net_->levels.size();
  if (frames.size(0) < 1 || frames.size(0) % net_->group() != 0 || frames.size(2) % cell != 0 ||
      frames.size(3) % cell != 0)
    throw Error(FC_ERROR_ARGUMENT, "taehv: cannot encode " + std::to_string(frames.size(0)) + " frames of " +
                                       std::to_string(frames.size(3)) + "x" + std::to_string(frames.size(2)) +
                                       ": at least one, in multiples of " + std::to_string(cell) + " pixels");
  at::Tensor x = frames.to(net_->device, net_->dtype);
  if (config.patch_size > 1) x = at::pixel_unshuffle(x, config.patch_size);
  x = at::relu(net_->in(x));
  at::Tensor* before = static_cast<TaehvEncoderState&>(state).before.data();
  for (const Level& level : net_->levels) {
    x = level.pool(x.reshape({x.size(0) / level.frames, x.size(1) * level.frames, x.size(2), x.size(3)}));
    x = level.half(x, 2);
    for (const MemoryBlock& block : level.blocks) x = block(x, *before++);
  }
  const at::Tensor latents = net_->out(x).to(at::kFloat);
  if (config.latents_mean.empty()) return latents;
  const auto per_channel = [&](const std::vector<double>& values) {
    return at::tensor(values, at::kDouble).to(latents.device(), at::kFloat).view({-1, 1, 1});
  };
  return (latents - per_channel(config.latents_mean)) / per_channel(config.latents_std);
}

}  // namespace flowcache
