// SPDX-License-Identifier: LGPL-2.1-or-later
// A LoadedModel made from a case's transformer, so that the engine's own Stream can run the case.
#pragma once

#include <stdexcept>

#include "stream/stream.h"

namespace golden {

// Returns given features for a prompt, because a case holds the text encoder's output and not the prompt. If
// there is only one, it serves all prompts.
class GivenText final : public flowcache::TextEncoder {
 public:
  explicit GivenText(at::Tensor features) { features_[""] = std::move(features); }
  explicit GivenText(std::map<std::string, at::Tensor, std::less<>> features)
      : features_(std::move(features)) {}
  flowcache::TextFeatures encode(std::string_view prompt) const override {
    const auto found = features_.find(prompt);
    if (found != features_.end()) return {found->second, {}};
    if (features_.size() == 1) return {features_.begin()->second, {}};
    throw std::runtime_error("no features for the prompt " + std::string(prompt));
  }

 private:
  std::map<std::string, at::Tensor, std::less<>> features_;
};

// Decodes nothing, because the cases compare only latents.
class NoDecoder final : public flowcache::Decoder {
 public:
  std::unique_ptr<flowcache::DecoderState> open() const override {
    return std::make_unique<flowcache::NoDecoderState>();
  }
  at::Tensor decode(const at::Tensor& latents, flowcache::DecoderState&) const override { return latents; }
  int64_t time_scale() const override { return 1; }
  int64_t space_scale() const override { return 1; }
};

// The sizes and the device of latents [C, chunks * frames, h, w]; the caller fills in the rest.
inline std::shared_ptr<flowcache::LoadedModel> given_model(const at::Tensor& latents,
                                                           int64_t frames_per_chunk) {
  auto model = std::make_shared<flowcache::LoadedModel>();
  model->device = latents.device();
  model->package.family = "wan-causal";
  model->package.latent_channels = latents.size(0);
  model->package.latent_frames_per_chunk = frames_per_chunk;
  model->package.latent_height = latents.size(2);
  model->package.latent_width = latents.size(3);
  model->decoder = std::make_unique<NoDecoder>();
  return model;
}

// The latents of the next `chunks` chunks, [C, frames, h, w].
inline at::Tensor generate(flowcache::Stream& stream, int64_t chunks) {
  std::vector<at::Tensor> latents;
  for (int64_t i = 0; i < chunks; ++i) {
    const auto chunk = stream.next();
    chunk->decoded.wait();
    latents.push_back(chunk->latent);
  }
  return at::cat(latents, 1);
}

}  // namespace golden
