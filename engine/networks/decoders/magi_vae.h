// SPDX-License-Identifier: LGPL-2.1-or-later
// MAGI-1's VAE: a vision transformer each way, run on tiles of the clip that are blended. Keys as in the
// published diffusion_pytorch_model.safetensors of the VAE.
//
// Tiles: 256 x 256 pixels that overlap by a quarter, 12 frames (3 latent frames) that do not. Nothing is
// remembered between calls, so a stream must be decoded in pieces of whole tiles in time (a chunk is two).
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "networks/decoders/decoder.h"
#include "networks/decoders/frame_encoder.h"
#include "package/safetensors.h"

namespace flowcache {

struct MagiVaeConfig {
  int64_t dim = 1024, depth = 24, heads = 16, mlp_ratio = 4, latent_channels = 16;
  int64_t patch_frames = 4, patch_size = 8;  // frames and pixels of a latent cell
  int64_t grid_frames = 4, grid_size = 32;   // cells that the position table was trained on
  int64_t tile_cells = 32, tile_overlap = 8, tile_latent_frames = 3;
  double scale = 0.18215;  // latents are multiplied by it for the transformer

  // A published config.json (its "ddconfig"), or the same fields directly; absent ones take the published
  // values. Throws FC_ERROR_MODEL.
  static MagiVaeConfig from_json(const nlohmann::json& config);
  int64_t pixel_channels() const { return dim / (patch_frames * patch_size * patch_size); }
};

class MagiVaeDecoder final : public Decoder {
 public:
  MagiVaeDecoder(const MagiVaeConfig& config, const WeightMap& weights, at::ScalarType dtype,
                 at::Device device, const std::string& what);
  ~MagiVaeDecoder() override;
  std::unique_ptr<DecoderState> open() const override;
  at::Tensor decode(const at::Tensor& latents, DecoderState& state) const override;
  int64_t time_scale() const override;
  int64_t space_scale() const override;

 private:
  struct Net;
  std::unique_ptr<Net> net_;
};

class MagiVaeEncoder final : public FrameEncoder {
 public:
  MagiVaeEncoder(const MagiVaeConfig& config, const WeightMap& weights, at::ScalarType dtype,
                 at::Device device, const std::string& what);
  ~MagiVaeEncoder() override;
  // A multiple of 4 frames, or one frame: an image, which becomes one latent frame. The posterior's mode.
  at::Tensor encode(const at::Tensor& frames) const override;

 private:
  struct Net;
  std::unique_ptr<Net> net_;
};

}  // namespace flowcache
