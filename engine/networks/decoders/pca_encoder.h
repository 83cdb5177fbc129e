// SPDX-License-Identifier: LGPL-2.1-or-later
// An encoder that is a fixed PCA: each latent cell holds the principal components of a block of pixels, of a few frames.
// The model that ships was trained on such latents (models/ambient/autoencoder.py), which a TAEHV decodes.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "networks/decoders/frame_encoder.h"
#include "package/safetensors.h"

namespace flowcache {

struct PcaEncoderConfig {
  int64_t latent_channels = 16;
  int64_t frames = 4, cell = 16;  // of a block: frames, and pixels a side
  // Component i is divided by its deviation s_i and enlarged by (s_i / s_0)^evenness: 0 makes all of one size, 1 keeps
  // their proportions.
  double evenness = 1;
  double latent_scale = 1;  // the decoder's: the transformer sees latents divided by it

  // Throws FC_ERROR_MODEL for impossible values.
  static PcaEncoderConfig from_json(const nlohmann::json& config);
};

// Keys: mean [n], basis [n, channels], variance [channels], n = 3 x frames x cell x cell, in this order.
class PcaEncoder final : public FrameEncoder {
 public:
  // Computes in fp32 whatever `dtype` is: it is one small product. Throws FC_ERROR_MODEL with all keys that do not fit;
  // `what` names the file.
  PcaEncoder(const PcaEncoderConfig& config, const WeightMap& weights, at::ScalarType dtype,
             at::Device device, const std::string& what);

  at::Tensor encode(const at::Tensor& frames) const override;
  int64_t frames_for(int64_t latents, const EncoderState& state) const override;

 private:
  PcaEncoderConfig config_;
  at::Tensor basis_, offset_;  // latent = block @ basis + offset
};

}  // namespace flowcache
