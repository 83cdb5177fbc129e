// SPDX-License-Identifier: LGPL-2.1-or-later
// An image or a video (prefix) that a stream continues.
//
// The whole chunks of the prefix run once, before chunk 0, so that their keys and values are history. The
// frames that remain replace the first frames of chunk 0 at every step. How the network sees the prefix
// depends on the family:
//   MAGI-1       clean, with the empty caption; the steps then change the latent itself, as published
//   SkyReels-V2  with a little noise and the timestep of that noise; the latent keeps these frames
//   Wan, causal  clean, and only whole chunks: the model was trained with one timestep for a chunk. An image is a whole chunk of
//                a frame-wise model. Models that were trained for it have it as the first frame of chunk 0, clean, at timestep 0
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <span>

#include "cache/kv/kv_store.h"
#include "families/family.h"
#include "networks/decoders/decoder.h"
#include "stream/loaded_model.h"

namespace flowcache {

// Immutable, except for reseed().
class InitialFrames {
 public:
  // latents: [C, F, h, w] fp32, F >= 1, of the video's size. Throws FC_ERROR_ARGUMENT if sizes do not fit, or
  // if frames remain after the whole chunks and the family cannot use them.
  InitialFrames(const LoadedModel& model, const PictureSize& size, const at::Tensor& latents, uint64_t seed);
  // frames: [n, 3, H, W] fp32 in 0..1. Throws FC_ERROR_ARGUMENT for another size than the video's, or a
  // number of frames that the encoder cannot group; FC_ERROR_NOT_FOUND or FC_ERROR_MODEL if the model has no
  // encoder.
  static std::unique_ptr<InitialFrames> encode(const LoadedModel& model, const PictureSize& size,
                                               const at::Tensor& frames, uint64_t seed);

  // Uses noise of this seed from now on.
  void reseed(uint64_t seed) { seed_ = seed; }

  int64_t whole_chunks() const { return latents_.size(1) / chunk_frames_; }

  // Runs the whole chunks through the KV cache of every branch, which is empty; if it throws, it is empty again. `kv` and `conditions` have one element for each branch.
  void fill_history(const Transformer& network, std::span<const std::unique_ptr<KvStore>> kv,
                    std::span<const std::shared_ptr<const Condition>> conditions) const;
  // Runs whole chunk `c` only, and leaves it in flight, as chunk c - whole_chunks(). The caches have admitted it at
  // `first_frame`.
  void run_chunk(const Transformer& network, int64_t c, int64_t first_frame,
                 std::span<const std::unique_ptr<KvStore>> kv,
                 std::span<const std::shared_ptr<const Condition>> conditions) const;
  // Runs the whole chunks through the decoder, so that it remembers them. Returns frames that are shown before chunk 0: those
  // of an image that is a whole chunk. Undefined if there are none.
  at::Tensor decode_history(DecoderState& decoder) const;

  // Embeds the latent of generated chunk `chunk`, with the frames of the prefix in it, as the network sees
  // it.
  Embedded embed(const Transformer& network, int64_t chunk, const at::Tensor& latent, double timestep,
                 int64_t first_frame) const;
  // The latent that a step starts from.
  at::Tensor before_step(int64_t chunk, const at::Tensor& latent) const;
  // The latent that is decoded.
  at::Tensor finished(int64_t chunk, const at::Tensor& latent) const;
  // The chunk's decoded frames without those of a given video. A single given image stays in.
  at::Tensor shown(int64_t chunk, const at::Tensor& frames) const;

 private:
  void check_length() const;
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
