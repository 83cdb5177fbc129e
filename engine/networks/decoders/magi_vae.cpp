// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/decoders/magi_vae.h"

#include "base/error.h"
#include "networks/decoders/tiles.h"
#include "networks/decoders/vit_3d.h"

namespace flowcache {
namespace {

Vit3d::Shape vit_shape(const MagiVaeConfig& c) {
  return {c.dim, c.depth, c.heads, c.dim * c.mlp_ratio, c.grid_frames, c.grid_size};
}

}  // namespace

MagiVaeConfig MagiVaeConfig::from_json(const nlohmann::json& json) {
  MagiVaeConfig c;
  try {
    const nlohmann::json dd = json.contains("ddconfig") ? json.at("ddconfig") : json;
    c.dim = dd.value("embed_dim", c.dim);
    c.depth = dd.value("depth", c.depth);
    c.heads = dd.value("num_heads", c.heads);
    c.mlp_ratio = dd.value("mlp_ratio", c.mlp_ratio);
    c.latent_channels = dd.value("z_chans", json.value("latent_channels", c.latent_channels));
    c.patch_frames = dd.value("patch_length", c.patch_frames);
    c.patch_size = dd.value("patch_size", c.patch_size);
    if (c.patch_frames < 1 || c.patch_size < 1)
      throw Error(FC_ERROR_MODEL, "magi_vae: patch sizes must be positive");
    c.grid_frames = dd.value("video_length", int64_t{16}) / c.patch_frames;
    c.grid_size = dd.value("video_size", int64_t{256}) / c.patch_size;
    c.scale = json.value("scaling_factor", c.scale);
  } catch (const nlohmann::json::exception& error) {
    throw Error(FC_ERROR_MODEL, std::string("magi_vae config: ") + error.what());
  }
  if (c.dim < 1 || c.depth < 1 || c.heads < 1 || c.mlp_ratio < 1 || c.latent_channels < 1 ||
      c.grid_frames < 1 || c.grid_size < 1 || c.dim % c.heads != 0 ||
      c.dim % (c.patch_frames * c.patch_size * c.patch_size) != 0 || !(c.scale > 0))
    throw Error(FC_ERROR_MODEL, "magi_vae config: sizes must be positive, and embed_dim " +
                                    std::to_string(c.dim) +
                                    " a multiple of num_heads and of patch_length · patch_size²");
  return c;
}

struct MagiVaeDecoder::Net {
  MagiVaeConfig config;
  at::ScalarType dtype;
  at::Device device;
  Parameters parameters;
  Vit3d vit;
  at::Tensor in, in_bias, out, out_bias;

  Net(const MagiVaeConfig& c, at::ScalarType type, at::Device where)
      : config(c), dtype(type), device(where), vit(vit_shape(c), parameters, "decoder.") {
    parameters.want("decoder.proj_in.weight", {c.dim, c.latent_channels}, in);
    parameters.want("decoder.proj_in.bias", {c.dim}, in_bias);
    parameters.want("decoder.last_layer.weight", {3, c.pixel_channels(), 3, 3, 3}, out);
    parameters.want("decoder.last_layer.bias", {3}, out_bias);
  }

  at::Tensor tile(const at::Tensor& z) const {  // [C, T, H, W] -> [3, 4T, 8H, 8W]
    const int64_t t = z.size(1), h = z.size(2), w = z.size(3), p = config.patch_size, f = config.patch_frames;
    const at::Tensor cells = at::linear(z.permute({1, 2, 3, 0}), in, in_bias);
    const at::Tensor pixels = vit.forward(cells)
                                  .view({t, h, w, f, p, p, config.pixel_channels()})
                                  .permute({6, 0, 3, 1, 4, 2, 5})
                                  .reshape({1, config.pixel_channels(), t * f, h * p, w * p});
    return at::conv3d(pixels, out, out_bias, 1, 1).squeeze(0).to(at::kFloat);
  }
};

MagiVaeDecoder::MagiVaeDecoder(const MagiVaeConfig& config, const WeightMap& weights, at::ScalarType dtype,
                               at::Device device, const std::string& what)
    : net_(std::make_unique<Net>(config, dtype, device)) {
  net_->parameters.load(without_prefixes(weights, {"encoder."}), dtype, device, what);
}

MagiVaeDecoder::~MagiVaeDecoder() = default;

std::unique_ptr<DecoderState> MagiVaeDecoder::open() const {
  return std::make_unique<NoDecoderState>();  // tiles do not overlap in time
}

at::Tensor MagiVaeDecoder::decode(const at::Tensor& latents, DecoderState&) const {
  const MagiVaeConfig& c = net_->config;
  const at::Tensor z = latents.to(net_->device, at::kFloat).transpose(0, 1).div(c.scale).to(net_->dtype);
  const Tiling tiling{.size = c.tile_cells, .overlap = c.tile_overlap, .frames = c.tile_latent_frames};
  const at::Tensor clip = run_tiled(z, tiling, static_cast<double>(c.patch_size),
                                    [this](const at::Tensor& tile) { return net_->tile(tile); });
  return clip.add(1).mul_(0.5).clamp_(0, 1).transpose(0, 1).contiguous();
}

int64_t MagiVaeDecoder::time_scale() const {
  return net_->config.patch_frames;
}
int64_t MagiVaeDecoder::space_scale() const {
  return net_->config.patch_size;
}

struct MagiVaeEncoder::Net {
  MagiVaeConfig config;
  at::ScalarType dtype;
  at::Device device;
  Parameters parameters;
  Vit3d vit;
  at::Tensor in, in_bias, out, out_bias;

  Net(const MagiVaeConfig& c, at::ScalarType type, at::Device where)
      : config(c), dtype(type), device(where), vit(vit_shape(c), parameters, "encoder.") {
    parameters.want("encoder.patch_embed.proj.weight", {c.dim, 3, c.patch_frames, c.patch_size, c.patch_size},
                    in);
    parameters.want("encoder.patch_embed.proj.bias", {c.dim}, in_bias);
    parameters.want("encoder.last_layer.weight", {2 * c.latent_channels, c.dim}, out);
    parameters.want("encoder.last_layer.bias", {2 * c.latent_channels}, out_bias);
  }

  at::Tensor tile(const at::Tensor& pixels) const {  // [3, 4T, 8H, 8W] -> [C, T, H, W]
    const at::Tensor cells = at::conv3d(pixels.unsqueeze(0), in, in_bias,
                                        {config.patch_frames, config.patch_size, config.patch_size});
    const at::Tensor moments = at::linear(vit.forward(cells.squeeze(0).permute({1, 2, 3, 0})), out, out_bias);
    return moments.narrow(-1, 0, config.latent_channels).permute({3, 0, 1, 2}).to(at::kFloat);
  }
};

MagiVaeEncoder::MagiVaeEncoder(const MagiVaeConfig& config, const WeightMap& weights, at::ScalarType dtype,
                               at::Device device, const std::string& what)
    : net_(std::make_unique<Net>(config, dtype, device)) {
  net_->parameters.load(without_prefixes(weights, {"decoder."}), dtype, device, what);
}

MagiVaeEncoder::~MagiVaeEncoder() = default;

int64_t MagiVaeEncoder::frames_for(int64_t latents, const EncoderState&) const {
  return latents * net_->config.patch_frames;
}

at::Tensor MagiVaeEncoder::encode(const at::Tensor& frames) const {
  const MagiVaeConfig& c = net_->config;
  const int64_t n = frames.size(0), cell = c.patch_size;
  if (n < 1 || (n != 1 && n % c.patch_frames != 0) || frames.size(2) % cell != 0 ||
      frames.size(3) % cell != 0)
    throw Error(FC_ERROR_ARGUMENT, "magi_vae: cannot encode " + std::to_string(n) + " frames of " +
                                       std::to_string(frames.size(3)) + "x" + std::to_string(frames.size(2)) +
                                       ": one image or a multiple of " + std::to_string(c.patch_frames) +
                                       " frames, in multiples of " + std::to_string(cell) + " pixels");
  const at::Tensor clip = n == 1 ? frames.expand({c.patch_frames, -1, -1, -1}) : frames;
  const at::Tensor pixels = (clip.to(net_->device, at::kFloat) * 2 - 1).to(net_->dtype).transpose(0, 1);
  const Tiling tiling{.size = c.tile_cells * cell,
                      .overlap = c.tile_overlap * cell,
                      .frames = c.tile_latent_frames * c.patch_frames,
                      .blend_in_place = true};
  const at::Tensor latents = run_tiled(pixels, tiling, 1.0 / static_cast<double>(cell),
                                       [this](const at::Tensor& tile) { return net_->tile(tile); });
  return (latents * c.scale).transpose(0, 1).contiguous();
}

}  // namespace flowcache
