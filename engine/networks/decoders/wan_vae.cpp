// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/decoders/wan_vae.h"

#include <algorithm>

#include "base/error.h"
#include "networks/decoders/wan22_vae_layers.h"
#include "networks/decoders/wan_vae_layers.h"
#include "package/fields.h"
#include "package/wan_latents.h"

namespace flowcache {
namespace {

using namespace wan_vae;

// Mean and deviation of the published VAE's latent channels.
const std::vector<double> published_mean(wan_latents_mean.begin(), wan_latents_mean.end());
const std::vector<double> published_std(wan_latents_std.begin(), wan_latents_std.end());

struct WanVaeState final : DecoderState {
  std::unique_ptr<DecoderState> copy() const override { return std::make_unique<WanVaeState>(*this); }
  Memory memory;
};

struct WanVaeEncoderState final : EncoderState {
  std::unique_ptr<EncoderState> copy() const override { return std::make_unique<WanVaeEncoderState>(*this); }
  Memory memory;
};

std::string numbered(const std::string& prefix, size_t i) {
  return prefix + std::to_string(i);
}

Layers build_decoder(const WanVaeConfig& config, Builder& builder) {
  if (config.is_22) return wan22_decoder(config, builder);
  Layers layers;
  int64_t channels = config.dim * config.dim_mult.back();
  layers.push_back(std::make_unique<CausalConv>(builder, "conv2", config.z_dim, config.z_dim,
                                                std::array<int64_t, 3>{1, 1, 1}));
  layers.push_back(std::make_unique<CausalConv>(builder, "decoder.conv1", config.z_dim, channels,
                                                std::array<int64_t, 3>{3, 3, 3}));
  add_middle(layers, builder, "decoder.middle", channels);
  size_t index = 0;
  const size_t levels = config.dim_mult.size();
  for (size_t level = 0; level < levels; ++level) {
    const int64_t out = config.dim * config.dim_mult[levels - 1 - level];
    for (int i = 0; i < config.res_blocks + 1; ++i, channels = out)
      layers.push_back(residual_block(builder, numbered("decoder.upsamples.", index++), channels, out));
    if (level + 1 == levels) break;
    const bool time = config.temporal_downsample[levels - 2 - level];
    layers.push_back(
        upsample(builder, numbered("decoder.upsamples.", index++), channels, channels / 2, time));
    channels /= 2;
  }
  layers.push_back(output_head(builder, "decoder.head", channels, 3));
  return layers;
}

Layers build_encoder(const WanVaeConfig& config, Builder& builder) {
  if (config.is_22) return wan22_encoder(config, builder);
  Layers layers;
  int64_t channels = config.dim;
  layers.push_back(
      std::make_unique<CausalConv>(builder, "encoder.conv1", 3, channels, std::array<int64_t, 3>{3, 3, 3}));
  size_t index = 0;
  for (size_t level = 0; level < config.dim_mult.size(); ++level) {
    const int64_t out = config.dim * config.dim_mult[level];
    for (int i = 0; i < config.res_blocks; ++i, channels = out)
      layers.push_back(residual_block(builder, numbered("encoder.downsamples.", index++), channels, out));
    if (level + 1 < config.dim_mult.size())
      layers.push_back(downsample(builder, numbered("encoder.downsamples.", index++), channels,
                                  config.temporal_downsample[level]));
  }
  add_middle(layers, builder, "encoder.middle", channels);
  layers.push_back(output_head(builder, "encoder.head", channels, 2 * config.z_dim));
  layers.push_back(std::make_unique<CausalConv>(builder, "conv1", 2 * config.z_dim, 2 * config.z_dim,
                                                std::array<int64_t, 3>{1, 1, 1}));
  return layers;
}

int64_t scale_of_time(const WanVaeConfig& config) {
  return int64_t{1} << std::count(config.temporal_downsample.begin(), config.temporal_downsample.end(), true);
}
int64_t scale_of_space(const WanVaeConfig& config) {
  return config.patch << (config.dim_mult.size() - 1);
}

at::Tensor per_channel(const std::vector<double>& values, at::Device device) {
  return at::tensor(values, at::kDouble).to(device, at::kFloat).view({-1, 1, 1, 1});
}

// Fills a config that has the published values.
WanVaeConfig read(const nlohmann::json& json, WanVaeConfig config, Fields::Names known) {
  known.insert(known.end(), {"dim", "z_dim", "dim_mult", "num_res_blocks", "temperal_downsample",
                             "latents_mean", "latents_std"});
  Fields(json, config.kind(), "config").none_like(known);
  const auto bad = [&](const std::string& why) {
    return Error(FC_ERROR_MODEL, std::string(config.kind()) + ": " + why);
  };
  try {
    config.dim = json.value("dim", config.dim);
    if (config.is_22) config.dec_dim = json.value("dec_dim", config.dec_dim);
    config.z_dim = json.value("z_dim", config.z_dim);
    config.dim_mult = json.value("dim_mult", config.dim_mult);
    config.res_blocks = json.value("num_res_blocks", config.res_blocks);
    config.temporal_downsample =
        json.value("temperal_downsample", config.temporal_downsample);  // the project's spelling
    config.mean = json.value("latents_mean", config.mean);
    config.std = json.value("latents_std", config.std);
  } catch (const nlohmann::json::exception& error) {
    throw bad(std::string("config: ") + error.what());
  }
  const auto positive = [](int64_t n) { return n > 0 && n <= 65536; };
  if (!positive(config.dim) || !positive(config.dec_dim) || !positive(config.z_dim) ||
      config.res_blocks < 1 || config.dim_mult.empty() ||
      !std::all_of(config.dim_mult.begin(), config.dim_mult.end(), positive))
    throw bad("dim, z_dim, num_res_blocks and dim_mult must be positive");
  if (config.temporal_downsample.size() + 1 != config.dim_mult.size())
    throw bad("temperal_downsample has " + std::to_string(config.temporal_downsample.size()) +
              " entries, dim_mult's " + std::to_string(config.dim_mult.size()) + " levels want one less");
  const auto channels = static_cast<size_t>(config.z_dim);
  if (config.mean.size() != channels || config.std.size() != channels)
    throw bad("latents_mean and latents_std need " + std::to_string(channels) + " entries each");
  return config;
}

}  // namespace

WanVaeConfig WanVaeConfig::from_json(const nlohmann::json& json) {
  WanVaeConfig config;
  config.mean = published_mean;
  config.std = published_std;
  return read(json, config, {});
}

WanVaeConfig Wan22VaeConfig::from_json(const nlohmann::json& json) {
  WanVaeConfig config;
  config.is_22 = true;
  config.patch = 2;
  config.dim = 160;
  config.z_dim = static_cast<int64_t>(wan22_latents_mean.size());
  config.mean.assign(wan22_latents_mean.begin(), wan22_latents_mean.end());
  config.std.assign(wan22_latents_std.begin(), wan22_latents_std.end());
  return read(json, config, {"dec_dim"});
}

// The encoder or the decoder, with its weights.
struct WanVaeHalf {
  using Build = Layers (*)(const WanVaeConfig&, Builder&);
  // others: prefixes of the keys of the other half, which is not built.
  WanVaeHalf(const WanVaeConfig& c, Build build, const WeightMap& weights,
             const std::vector<std::string>& others, at::ScalarType type, at::Device device,
             const std::string& what)
      : config(c), dtype(type), mean(per_channel(c.mean, device)), std(per_channel(c.std, device)) {
    Parameters parameters;
    Builder builder{parameters};
    layers = build(config, builder);
    layers_with_memory = builder.layers_with_memory;
    parameters.load(without_prefixes(weights, others), dtype, device, what);
  }

  WanVaeConfig config;
  at::ScalarType dtype;
  at::Tensor mean, std;
  Layers layers;
  size_t layers_with_memory = 0;
};

WanVaeDecoder::WanVaeDecoder(const WanVaeConfig& config, const WeightMap& weights, at::ScalarType dtype,
                             at::Device device, const std::string& what)
    : net_(std::make_unique<WanVaeHalf>(config, build_decoder, weights,
                                        std::vector<std::string>{"encoder.", "conv1."}, dtype, device,
                                        what)) {}

WanVaeDecoder::~WanVaeDecoder() = default;

std::unique_ptr<DecoderState> WanVaeDecoder::open() const {
  auto state = std::make_unique<WanVaeState>();
  state->memory.past.resize(net_->layers_with_memory);
  return state;
}

at::Tensor WanVaeDecoder::decode_unclamped(const at::Tensor& latents, DecoderState& state) const {
  Memory& memory = static_cast<WanVaeState&>(state).memory;
  const at::Tensor z = latents.to(net_->mean.device()).transpose(0, 1) * net_->std + net_->mean;
  std::vector<at::Tensor> frames;
  // One latent frame at a time, because the activations of the widest layer take the most memory.
  for (int64_t i = 0; i < z.size(1); ++i) {
    const at::Tensor x = z.narrow(1, i, 1).unsqueeze(0).to(net_->dtype);
    frames.push_back(run(net_->layers, x, memory).squeeze(0).transpose(0, 1).to(at::kFloat));
  }
  return at::cat(frames);
}

at::Tensor WanVaeDecoder::decode(const at::Tensor& latents, DecoderState& state) const {
  return decode_unclamped(latents, state).clamp_(-1, 1).add_(1).mul_(0.5);
}

int64_t WanVaeDecoder::time_scale() const {
  return scale_of_time(net_->config);
}
int64_t WanVaeDecoder::space_scale() const {
  return scale_of_space(net_->config);
}

WanVaeEncoder::WanVaeEncoder(const WanVaeConfig& config, const WeightMap& weights, at::ScalarType dtype,
                             at::Device device, const std::string& what)
    : net_(std::make_unique<WanVaeHalf>(config, build_encoder, weights,
                                        std::vector<std::string>{"decoder.", "conv2."}, dtype, device,
                                        what)) {}

WanVaeEncoder::~WanVaeEncoder() = default;

at::Tensor WanVaeEncoder::encode(const at::Tensor& frames) const {
  return encode_next(frames, *open());
}

std::unique_ptr<EncoderState> WanVaeEncoder::open() const {
  auto state = std::make_unique<WanVaeEncoderState>();
  state->memory.past.resize(net_->layers_with_memory);
  return state;
}

int64_t WanVaeEncoder::frames_for(int64_t latents, const EncoderState& state) const {
  const int64_t group = scale_of_time(net_->config);
  const bool first = static_cast<const WanVaeEncoderState&>(state).memory.first;
  return latents * group - (first && latents > 0 ? group - 1 : 0);
}

at::Tensor WanVaeEncoder::encode_next(const at::Tensor& frames, EncoderState& state) const {
  Memory& memory = static_cast<WanVaeEncoderState&>(state).memory;
  const int64_t n = frames.size(0), group = scale_of_time(net_->config), cell = scale_of_space(net_->config);
  const int64_t alone = memory.first ? 1 : 0;  // a clip's first frame is a group of its own
  if (n < 1 || (n - alone) % group != 0)
    throw Error(FC_ERROR_ARGUMENT, std::string(net_->config.kind()) + ": cannot encode " + std::to_string(n) +
                                       " frames: " + (alone ? "1 plus a multiple of " : "a multiple of ") +
                                       std::to_string(group) + " is wanted; cut the clip");
  if (frames.size(2) % cell != 0 || frames.size(3) % cell != 0)
    throw Error(FC_ERROR_ARGUMENT, std::string(net_->config.kind()) + ": frames of " +
                                       std::to_string(frames.size(3)) + "x" + std::to_string(frames.size(2)) +
                                       " are not a multiple of " + std::to_string(cell) +
                                       " pixels: scale or crop them");
  std::vector<at::Tensor> latents;
  for (int64_t at = 0, size = alone ? 1 : group; at < n; at += size, size = group) {
    const at::Tensor part = frames.narrow(0, at, size).to(net_->mean.device(), net_->dtype);
    const at::Tensor moments =
        run(net_->layers, (part * 2 - 1).transpose(0, 1).unsqueeze(0), memory).squeeze(0);
    const at::Tensor mean = moments.narrow(0, 0, net_->config.z_dim).to(at::kFloat);
    latents.push_back(((mean - net_->mean) / net_->std).transpose(0, 1));
  }
  return at::cat(latents).contiguous();
}

}  // namespace flowcache
