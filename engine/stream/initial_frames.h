// SPDX-License-Identifier: LGPL-2.1-or-later
// An image or a video that a stream goes on from.
//
// Their whole chunks are run once, before chunk 0, so that their keys and values are history; what is left over
// lies over the start of chunk 0 at every step. How the network sees them is the family's rule:
//   MAGI-1       clean, with the empty caption; the latent itself goes on from the pasted frames, as published
//   SkyReels-V2  with a little noise and the timestep of that noise, frame by frame; the latent keeps the frames
//   Wan, causal  clean, whole chunks only: the model was trained with one timestep a chunk
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <span>

#include "cache/kv/kv_store.h"
#include "families/family.h"
#include "networks/decoders/decoder.h"
#include "stream/loaded_model.h"

namespace flowcache {

// Immutable, but for reseed().
class InitialFrames {
 public:
  // latents [C, F, h, w] fp32, F >= 1, of the video's size. Throws FC_ERROR_ARGUMENT: sizes, or a left-over
  // that the family cannot take.
  InitialFrames(const LoadedModel& model, const PictureSize& size, const at::Tensor& latents, uint64_t seed);
  // frames [n, 3, H, W] fp32 in 0..1. Throws FC_ERROR_ARGUMENT for another size than the video's or a number
  // of frames that the encoder cannot group, FC_ERROR_NOT_FOUND or FC_ERROR_MODEL if the model has no
  // encoder.
  static std::unique_ptr<InitialFrames> encode(const LoadedModel& model, const PictureSize& size,
                                               const at::Tensor& frames, uint64_t seed);

  // The noise is that of another seed from now on.
  void reseed(uint64_t seed) { seed_ = seed; }

  int64_t whole_chunks() const { return latents_.size(1) / chunk_frames_; }

  // Runs the whole chunks through every branch's cache and shows them to the decoder. conditions: one a
  // branch.
  void fill_history(std::span<const std::unique_ptr<KvStore>> kv,
                    std::span<const std::shared_ptr<const Condition>> conditions,
                    DecoderState& decoder) const;

  // Generated chunk `chunk` as the network sees it: embed() of its latent with the given frames in it.
  Embedded embed(int64_t chunk, const at::Tensor& latent, double timestep, int64_t first_frame) const;
  // The latent that a step starts from; the latent that is decoded.
  at::Tensor before_step(int64_t chunk, const at::Tensor& latent) const;
  at::Tensor finished(int64_t chunk, const at::Tensor& latent) const;
  // The chunk's decoded frames without those of a given video; a single image is shown.
  at::Tensor shown(int64_t chunk, const at::Tensor& frames) const;

 private:
  int64_t left_over() const { return latents_.size(1) % chunk_frames_; }
  at::Tensor pasted(int64_t chunk, const at::Tensor& latent, bool noised, int64_t draw) const;
  at::Tensor with_noise(const at::Tensor& latents, int64_t chunk, int64_t draw) const;

  const LoadedModel& model_;  // outlives this
  at::Tensor latents_;
  uint64_t seed_;
  int64_t chunk_frames_;
  InitialFramesRule rule_;
};

}  // namespace flowcache
