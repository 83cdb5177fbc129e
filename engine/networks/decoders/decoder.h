// SPDX-License-Identifier: LGPL-2.1-or-later
// Latents to frames, streaming: what a decoder remembers between calls lives in a DecoderState, one per stream.
// What a chunk takes while it is decoded:
//   wan_vae   one latent frame after the other, so that of one frame whatever the chunk
//   magi_vae  one tile of 12 frames and 256 x 256 pixels after the other
//   taehv     `slice_frames` latent frames of its config at a time (sliced decoding, LightCache, arXiv 2510.05367),
//             0: all of the chunk; on a CPU the last and largest stage frame by frame
#pragma once

#include <ATen/ATen.h>

#include <memory>

namespace flowcache {

class DecoderState {
 public:
  virtual ~DecoderState() = default;
};

// Thread-safe: const, no state but the weights.
class Decoder {
 public:
  virtual ~Decoder() = default;
  // State before the first latent frame.
  virtual std::unique_ptr<DecoderState> open() const = 0;
  // latents [F, C, h, w] fp32 as the transformer produces them (scaling is the decoder's business), in stream order.
  // Returns frames [n, 3, H, W] fp32 in 0..1; n may be smaller for the first call where a decoder trims its start.
  // Decoding a then b equals decoding a|b at once.
  virtual at::Tensor decode(const at::Tensor& latents, DecoderState& state) const = 0;
  // Frames, rows and columns that one latent frame, row and column become.
  virtual int64_t time_scale() const = 0;
  virtual int64_t space_scale() const = 0;
};

}  // namespace flowcache
