// SPDX-License-Identifier: LGPL-2.1-or-later
// MAGI-1's VAE (arXiv 2505.13211): one vision transformer encodes, another decodes. Both run on tiles of the
// clip, which are blended. Keys as in the VAE's published diffusion_pytorch_model.safetensors.
//
// A tile has 256 x 256 pixels and overlaps its neighbours by a quarter. In time it has 12 frames (3 latent
// frames) and does not overlap. Nothing is remembered between calls, so each call must decode whole tiles in
// time; a chunk has two.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "networks/decoders/decoder.h"
#include "networks/decoders/frame_encoder.h"
#include "package/safetensors.h"

namespace flowcache {

struct MagiVaeConfig {
  int64_t dim = 1024, depth = 24, heads = 16, mlp_ratio = 4, latent_channels = 16;
  int64_t patch_frames = 4, patch_size = 8;  // frames and pixels that a latent cell stands for
  int64_t grid_frames = 4, grid_size = 32;   // latent cells of the position table
  int64_t tile_cells = 32, tile_overlap = 8, tile_latent_frames = 3;
  double scale = 0.18215;  // the transformer sees latents times this

  // Reads a published config.json (its "ddconfig"), or an object with the same fields. Absent fields take the
  // published values. Throws FC_ERROR_MODEL.
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
  // Takes a multiple of 4 frames, or one frame: an image, which becomes one latent frame. Returns the
  // mode of the posterior. Piece by piece it gives the same if all pieces are whole tiles in time, as chunks are.
  at::Tensor encode(const at::Tensor& frames) const override;
  int64_t frames_for(int64_t latents, const EncoderState& state) const override;

 private:
  struct Net;
  std::unique_ptr<Net> net_;
};

}  // namespace flowcache
