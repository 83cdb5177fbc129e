// SPDX-License-Identifier: LGPL-2.1-or-later
// From frames to latents: for images and videos that a stream goes on from, and, piece by piece, for videos that it
// repaints. What an encoder remembers between two pieces is in an EncoderState, one for each video.
#pragma once

#include <ATen/ATen.h>

#include <memory>

namespace flowcache {

class EncoderState {
 public:
  virtual ~EncoderState() = default;
  // The same state once more, for going back to it if a call fails. Tensors are shared: an encoder replaces what it
  // remembers, and writes into none of it.
  virtual std::unique_ptr<EncoderState> copy() const { return std::make_unique<EncoderState>(); }
};

// Immutable; any thread. An EncoderState belongs to one thread at a time.
class FrameEncoder {
 public:
  virtual ~FrameEncoder() = default;
  // frames: a whole clip [n, 3, H, W] fp32 in 0..1. Returns latents [F, C, h, w] fp32 as the
  // transformer takes them. Throws FC_ERROR_ARGUMENT if the encoder cannot divide the picture or cannot
  // group so many frames.
  virtual at::Tensor encode(const at::Tensor& frames) const = 0;

  // ---- piece by piece. By default nothing is remembered.
  // The state before a video's first frame.
  virtual std::unique_ptr<EncoderState> open() const { return std::make_unique<EncoderState>(); }
  // How many frames the next `latents` latent frames are made of.
  virtual int64_t frames_for(int64_t latents, const EncoderState& state) const = 0;
  // The latents of the video's next frames, as many as frames_for() says. All pieces give what the whole clip gives.
  virtual at::Tensor encode_next(const at::Tensor& frames, EncoderState& /*state*/) const {
    return encode(frames);
  }
};

}  // namespace flowcache
