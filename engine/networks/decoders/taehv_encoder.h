// SPDX-License-Identifier: LGPL-2.1-or-later
// The encoder half of TAEHV, the tiny autoencoder for video latents (taehv*.pth): convolutions whose blocks
// also see the frame before, and pooling that folds neighbouring frames.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "networks/decoders/frame_encoder.h"
#include "package/safetensors.h"

namespace flowcache {

struct TaehvEncoderConfig {
  int64_t latent_channels = 16, patch_size = 1, width = 64;
  std::vector<bool> time_downscale = {true, true, false};  // after each halving of the picture

  // Throws FC_ERROR_MODEL for values that cannot be.
  static TaehvEncoderConfig from_json(const nlohmann::json& config);
};

class TaehvEncoder final : public FrameEncoder {
 public:
  // Ignores the decoder's keys.
  TaehvEncoder(const TaehvEncoderConfig& config, const WeightMap& weights, at::ScalarType dtype,
               at::Device device, const std::string& what);
  ~TaehvEncoder() override;

  // A clip that does not fill its last group of frames is extended by its last frame, as the reference does.
  at::Tensor encode(const at::Tensor& frames) const override;

 private:
  struct Net;
  std::unique_ptr<Net> net_;
};

}  // namespace flowcache
