// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/initial_frames.h"

#include <cmath>

#include "base/error.h"
#include "base/words.h"
#include "families/factory.h"
#include "families/family.h"
#include "stream/noise.h"

namespace flowcache {
InitialFrames::InitialFrames(const LoadedModel& model, const PictureSize& size, const at::Tensor& latents,
                             uint64_t seed)
    : model_(model),
      seed_(seed),
      chunk_frames_(model.package.latent_frames_per_chunk),
      rule_(family_of(model.package).initial_frames(model.package)) {
  const ModelPackage& package = model.package;
  if (latents.dim() != 4 || latents.size(0) != package.latent_channels || latents.size(1) < 1 ||
      latents.size(2) != size.latent_height || latents.size(3) != size.latent_width)
    throw Error(FC_ERROR_ARGUMENT, "the prefix's latents are " + shape_text(latents.sizes()) +
                                       ", this video's are " + std::to_string(package.latent_channels) +
                                       " x frames x " + std::to_string(size.latent_height) + " x " +
                                       std::to_string(size.latent_width));
  latents_ = latents.to(model.device, at::kFloat);
  check_length();
}

void InitialFrames::check_length() const {
  const int64_t given = latents_.size(1);
  if (left_over() == 0 || (rule_.part_of_chunk && (!rule_.image_only || given == 1))) return;
  const std::string chunks = "whole chunks of " + std::to_string(chunk_frames_) + " latent frames";
  if (given > 1)
    throw Error(FC_ERROR_ARGUMENT, "the prefix has " + std::to_string(given) +
                                       " latent frames; this model wants whole chunks of " +
                                       std::to_string(chunk_frames_) + ": shorten or lengthen the clip");
  const int64_t frames = 1 + (chunk_frames_ - 1) * model_.decoder->time_scale();
  throw Error(FC_ERROR_ARGUMENT,
              "an image is one latent frame, and this model was trained to go on from " + chunks +
                  " only: give a clip of " + std::to_string(frames) +
                  " frames, or choose a model that goes on from an image, such as a frame-wise one "
                  "(causal-forcing-framewise-1.3b)");
}

std::unique_ptr<InitialFrames> InitialFrames::encode(const LoadedModel& model, const PictureSize& size,
                                                     const at::Tensor& frames, uint64_t seed) {
  const ModelPackage& package = model.package;
  if (frames.dim() != 4 || frames.size(0) < 1 || frames.size(1) != 3)
    throw Error(FC_ERROR_ARGUMENT,
                "the prefix is " + shape_text(frames.sizes()) + "; wanted frames x 3 x rows x columns");
  if (Pixels{frames.size(3), frames.size(2)} != size.pixels)
    throw Error(FC_ERROR_ARGUMENT, "the prefix is " + std::to_string(frames.size(3)) + "x" +
                                       std::to_string(frames.size(2)) + ", the video is " +
                                       size.pixels.text() + ": scale the prefix to that size");
  // The encoder is used only here, so its weights are not kept.
  const auto encoder = make_frame_encoder(package, model.compute, model.device);
  return std::make_unique<InitialFrames>(model, size,
                                         encoder->encode(frames.to(model.device)).transpose(0, 1), seed);
}

at::Tensor InitialFrames::with_noise(const at::Tensor& latents, int64_t chunk, int64_t draw) const {
  if (rule_.noise == 0) return latents;
  const double share = rule_.noise / 1000;
  return latents * (1 - share) + draw_noise(seed_, chunk, draw, latents.sizes(), model_.device) * share;
}

void InitialFrames::fill_history(const Transformer& network, std::span<const std::unique_ptr<KvStore>> kv,
                                 std::span<const std::shared_ptr<const Condition>> conditions) const {
  const int64_t chunks = whole_chunks();
  try {
    for (int64_t c = 0; c < chunks; ++c) {
      const int64_t id = c - chunks, first_frame = c * chunk_frames_;  // before chunk 0
      for (const auto& one : kv) one->admit(id, first_frame);
      run_chunk(network, c, first_frame, kv, conditions);
      for (const auto& one : kv) one->finish(id);
    }
  } catch (...) {
    for (const auto& one : kv) one->reset();
    throw;
  }
}

void InitialFrames::run_chunk(const Transformer& network, int64_t c, int64_t first_frame,
                              std::span<const std::unique_ptr<KvStore>> kv,
                              std::span<const std::shared_ptr<const Condition>> conditions) const {
  const int64_t id = c - whole_chunks();
  const at::Tensor clean = latents_.narrow(1, c * chunk_frames_, chunk_frames_);
  const std::vector<double> timesteps(rule_.own_timesteps ? static_cast<size_t>(chunk_frames_) : 1,
                                      rule_.noise);
  const Embedded embedded = network.embed(with_noise(clean, id, 0), timesteps, first_frame);
  const int64_t newest =
      network.prefix_context() == 0 ? INT64_MAX : network.prefix_context() * embedded.grid.tokens();
  for (size_t branch = 0; branch < kv.size(); ++branch) {
    NewestKeys view(kv[branch]->view(id), newest);
    network.blocks(embedded, embedded.tokens, *conditions[branch], view, 0, network.shape().layers);
  }
}

at::Tensor InitialFrames::decode_history(DecoderState& decoder) const {
  at::Tensor frames;
  for (int64_t c = 0; c < whole_chunks(); ++c) {
    const at::Tensor clean = latents_.narrow(1, c * chunk_frames_, chunk_frames_);
    frames = model_.decoder->decode(clean.transpose(0, 1).contiguous(), decoder);
  }
  return latents_.size(1) == 1 ? frames : at::Tensor();
}

at::Tensor InitialFrames::pasted(int64_t chunk, const at::Tensor& latent, bool noised, int64_t draw) const {
  const int64_t count = left_over();
  if (chunk != 0 || count == 0) return latent;
  const at::Tensor own = latents_.narrow(1, latents_.size(1) - count, count);
  return at::cat(
      {noised ? with_noise(own, INT64_MIN / 2, draw) : own, latent.narrow(1, count, latent.size(1) - count)},
      1);
}

Embedded InitialFrames::embed(const Transformer& network, int64_t chunk, const at::Tensor& latent,
                              double timestep, int64_t first_frame) const {
  std::vector<double> timesteps = {timestep};
  if (rule_.own_timesteps && chunk == 0 && left_over() > 0) {
    timesteps.assign(static_cast<size_t>(chunk_frames_), timestep);
    std::fill_n(timesteps.begin(), left_over(), rule_.noise);
  }
  return network.embed(pasted(chunk, latent, true, std::llround(timestep)), timesteps, first_frame);
}

at::Tensor InitialFrames::before_step(int64_t chunk, const at::Tensor& latent) const {
  return pasted(chunk, latent, false, 0);
}

at::Tensor InitialFrames::finished(int64_t chunk, const at::Tensor& latent) const {
  return rule_.own_timesteps ? pasted(chunk, latent, false, 0) : latent;
}

at::Tensor InitialFrames::shown(int64_t chunk, const at::Tensor& frames) const {
  if (chunk != 0 || left_over() == 0 || latents_.size(1) == 1) return frames;
  const int64_t own = std::min(frames.size(0), model_.decoder->time_scale() * (chunk_frames_ - left_over()));
  return frames.narrow(0, frames.size(0) - own, own);
}

}  // namespace flowcache
