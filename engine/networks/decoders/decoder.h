// SPDX-License-Identifier: LGPL-2.1-or-later
// From latents to frames, piece by piece. What a decoder remembers between two calls is in a DecoderState,
// one for each stream. How much is decoded at once, which decides about the memory taken:
//   wan_vae, wan22_vae   one latent frame
//   magi_vae  one tile of 12 frames and 256 x 256 pixels
//   taehv     `slice_frames` latent frames of its config, 0: the whole chunk (sliced decoding, LightCache,
//             arXiv 2510.05367). On a CPU the last stage, which is the largest, goes frame by frame
#pragma once

#include <ATen/ATen.h>

#include <memory>

namespace flowcache {

class DecoderState {
 public:
  virtual ~DecoderState() = default;
  // The same state once more, for going back to it if a call fails. Tensors are shared: a decoder replaces what it
  // remembers, and writes into none of it.
  virtual std::unique_ptr<DecoderState> copy() const = 0;
};

// Of a decoder that remembers nothing.
class NoDecoderState final : public DecoderState {
 public:
  std::unique_ptr<DecoderState> copy() const override { return std::make_unique<NoDecoderState>(); }
};

// Immutable; any thread. A DecoderState belongs to one thread at a time.
class Decoder {
 public:
  virtual ~Decoder() = default;
  // The state before a stream's first latent frame.
  virtual std::unique_ptr<DecoderState> open() const = 0;
  // latents [F, C, h, w] fp32, the next ones of the stream, as the transformer produces them; the
  // decoder scales them. Returns frames [n, 3, H, W] fp32 in 0..1. n is F times time_scale(), or less in
  // the first call, where some decoders leave out frames. Decoding a and then b gives the same as
  // decoding both at once.
  virtual at::Tensor decode(const at::Tensor& latents, DecoderState& state) const = 0;
  // How many frames a latent frame becomes, and how many pixels a latent row or column.
  virtual int64_t time_scale() const = 0;
  virtual int64_t space_scale() const = 0;
};

}  // namespace flowcache
