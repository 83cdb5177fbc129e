// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/decoders/pca_encoder.h"

#include "base/error.h"
#include "networks/parameters.h"

namespace flowcache {

PcaEncoderConfig PcaEncoderConfig::from_json(const nlohmann::json& json) {
  PcaEncoderConfig config;
  try {
    config.latent_channels = json.value("latent_channels", config.latent_channels);
    config.frames = json.value("frames", config.frames);
    config.cell = json.value("cell", config.cell);
    config.evenness = json.value("evenness", config.evenness);
    config.latent_scale = json.value("latent_scale", config.latent_scale);
  } catch (const nlohmann::json::exception& error) {
    throw Error(FC_ERROR_MODEL, std::string("pca encoder config: ") + error.what());
  }
  const auto side = [](int64_t n) { return n >= 1 && n <= 256; };
  if (!side(config.frames) || !side(config.cell) || config.latent_channels < 1 ||
      config.latent_channels > 1024 || !(config.latent_scale > 0) || !(std::abs(config.evenness) <= 10))
    throw Error(
        FC_ERROR_MODEL,
        "pca encoder config: frames and cell are 1..256, latent_channels 1..1024, latent_scale is above 0, "
        "evenness -10..10");
  return config;
}

PcaEncoder::PcaEncoder(const PcaEncoderConfig& config, const WeightMap& weights, at::ScalarType,
                       at::Device device, const std::string& what)
    : config_(config) {
  const int64_t numbers = config.frames * 3 * config.cell * config.cell;
  at::Tensor mean, basis, variance;
  Parameters parameters;
  parameters.want("mean", {numbers}, mean);
  parameters.want("basis", {numbers, config.latent_channels}, basis);
  parameters.want("variance", {config.latent_channels}, variance);
  parameters.load(weights, at::kFloat, device, what);
  const at::Tensor deviation = variance.abs().sqrt();  // only random weights have negative ones
  const at::Tensor scale = (deviation / deviation[0]).pow(config.evenness) / deviation / config.latent_scale;
  basis_ = basis * scale;
  offset_ = -at::matmul(mean, basis_);
}

at::Tensor PcaEncoder::encode(const at::Tensor& frames) const {
  const int64_t n = frames.size(0), height = frames.size(2), width = frames.size(3), cell = config_.cell;
  if (n < 1 || n % config_.frames != 0 || height % cell != 0 || width % cell != 0)
    throw Error(FC_ERROR_ARGUMENT, "pca: cannot encode " + std::to_string(n) + " frames of " +
                                       std::to_string(width) + "x" + std::to_string(height) +
                                       ": multiples of " + std::to_string(config_.frames) +
                                       " frames and of " + std::to_string(cell) + " pixels are wanted");
  const int64_t t = n / config_.frames, h = height / cell, w = width / cell;
  const at::Tensor blocks = frames.to(basis_.device(), at::kFloat)
                                .reshape({t, config_.frames, 3, h, cell, w, cell})
                                .permute({0, 3, 5, 2, 1, 4, 6})  // [t, h, w, 3, frames, cell, cell]
                                .reshape({t * h * w, basis_.size(0)});
  return at::addmm(offset_, blocks, basis_)
      .view({t, h, w, config_.latent_channels})
      .permute({0, 3, 1, 2})
      .contiguous();
}

int64_t PcaEncoder::frames_for(int64_t latents, const EncoderState&) const {
  return latents * config_.frames;
}

}  // namespace flowcache
