// SPDX-License-Identifier: LGPL-2.1-or-later
// The encoder of TAEHV, the tiny autoencoder for video latents (taehv*.pth). Its blocks see each frame and
// the one before it; its pooling makes one frame of two neighbours.
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
  std::vector<bool> time_downscale = {true, true, false};  // does each level halve the frames, too?
  std::vector<double> latents_mean, latents_std;           // the inverse of what the decoder does (taehv.h)

  // Throws FC_ERROR_MODEL for impossible values.
  static TaehvEncoderConfig from_json(const nlohmann::json& config);
};

class TaehvEncoder final : public FrameEncoder {
 public:
  // Ignores the decoder's keys. Throws FC_ERROR_MODEL with all keys that do not fit; `what` names the file.
  TaehvEncoder(const TaehvEncoderConfig& config, const WeightMap& weights, at::ScalarType dtype,
               at::Device device, const std::string& what);
  ~TaehvEncoder() override;

  // If the clip does not fill its last group of frames, its last frame is repeated, as in the reference.
  at::Tensor encode(const at::Tensor& frames) const override;
  // Takes whole groups of frames only. Where the decoder leaves out a video's first three frames, a chunk's last group has
  // the three frames behind those that the chunk shows, as the published code groups them.
  std::unique_ptr<EncoderState> open() const override;
  int64_t frames_for(int64_t latents, const EncoderState& state) const override;
  at::Tensor encode_next(const at::Tensor& frames, EncoderState& state) const override;

 private:
  struct Net;
  std::unique_ptr<Net> net_;
};

}  // namespace flowcache
