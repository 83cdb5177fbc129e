// SPDX-License-Identifier: LGPL-2.1-or-later
// The video VAEs of Wan 2.1 (arXiv 2503.20314) and of Wan 2.2. Their 3D convolutions see no later frame, so a clip can
// be decoded one latent frame at a time and encoded four frames at a time. The first latent frame becomes one frame,
// each later one four. Keys as in Wan2.1_VAE.pth and Wan2.2_VAE.pth. Wan 2.2's has 48 latent channels at a sixteenth of
// the picture's sides, and is another network (wan22_vae_layers.h).
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
  // Of Wan 2.2's.
  bool is_22 = false;
  int64_t dec_dim = 256;  // `dim` of its decoder
  int64_t patch = 1;      // side of the square of pixels that is one for the network

  const char* kind() const { return is_22 ? "wan22_vae" : "wan_vae"; }
  // Reads a config.json of the project; absent fields take the published values. Throws FC_ERROR_MODEL.
  static WanVaeConfig from_json(const nlohmann::json& config);
};

// The config of Wan 2.2's.
struct Wan22VaeConfig {
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
