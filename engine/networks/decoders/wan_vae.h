// SPDX-License-Identifier: LGPL-2.1-or-later
// The video VAE of Wan 2.1 (arXiv 2503.20314). Its 3D convolutions see no later frame, so a clip can be
// decoded one latent frame at a time and encoded four frames at a time. The first latent frame becomes one
// frame, each later one four. Keys as in Wan2.1_VAE.pth.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "networks/decoders/decoder.h"
#include "networks/decoders/frame_encoder.h"
#include "package/safetensors.h"

namespace flowcache {

struct WanVaeConfig {
  int64_t dim = 96, z_dim = 16;
  std::vector<int64_t> dim_mult = {1, 2, 4, 4};
  int res_blocks = 2;
  std::vector<bool> temporal_downsample = {false, true, true};
  std::vector<double> mean, std;  // of each latent channel; the transformer sees (z - mean) / std

  // Reads a config.json of the project; absent fields take the published values. Throws FC_ERROR_MODEL.
  static WanVaeConfig from_json(const nlohmann::json& config);
};

struct WanVaeHalf;

class WanVaeDecoder final : public Decoder {
 public:
  // Ignores the encoder's keys. Throws FC_ERROR_MODEL with every missing, unexpected or misshaped key.
  WanVaeDecoder(const WanVaeConfig& config, const WeightMap& weights, at::ScalarType dtype, at::Device device,
                const std::string& what);
  ~WanVaeDecoder() override;

  std::unique_ptr<DecoderState> open() const override;
  at::Tensor decode(const at::Tensor& latents, DecoderState& state) const override;
  int64_t time_scale() const override;
  int64_t space_scale() const override;

  // What decode() returns, before it is clamped and scaled to 0..1: [n, 3, H, W] fp32, roughly in -1..1.
  at::Tensor decode_unclamped(const at::Tensor& latents, DecoderState& state) const;

 private:
  std::unique_ptr<WanVaeHalf> net_;
};

class WanVaeEncoder final : public FrameEncoder {
 public:
  // Ignores the decoder's keys.
  WanVaeEncoder(const WanVaeConfig& config, const WeightMap& weights, at::ScalarType dtype, at::Device device,
                const std::string& what);
  ~WanVaeEncoder() override;

  // n must be 1 + a multiple of the time scale; H and W must be multiples of the space scale. Returns the
  // mean of the posterior.
  at::Tensor encode(const at::Tensor& frames) const override;
  std::unique_ptr<EncoderState> open() const override;
  int64_t frames_for(int64_t latents, const EncoderState& state) const override;
  at::Tensor encode_next(const at::Tensor& frames, EncoderState& state) const override;

 private:
  std::unique_ptr<WanVaeHalf> net_;
};

}  // namespace flowcache
