// SPDX-License-Identifier: LGPL-2.1-or-later
// TAEHV (github.com/madebyollin/taehv): a small convolutional decoder that sees one frame back, so it
// streams.
#pragma once

#include <nlohmann/json.hpp>

#include "networks/decoders/decoder.h"
#include "package/safetensors.h"

namespace flowcache {

// config: latent_channels (16), patch_size (1), n_f (4 widths), mem_blocks (3 counts), decoder_time_upscale
// (3 bools), frames_to_trim (2^upscales - 1), latent_scale (1; multiplies latents before decoding),
// slice_frames (0). weights: the checkpoint's decoder.* keys; its encoder.* keys are ignored. compute: fp32
// or bf16, of convolutions. Throws FC_ERROR_MODEL as make_wan() does.
std::unique_ptr<Decoder> make_taehv(const nlohmann::json& config, WeightMap weights, at::ScalarType compute,
                                    at::Device device);

// What decode() returns before its frames are trimmed and clamped to 0..1: for tests. `decoder` is
// make_taehv()'s.
at::Tensor taehv_decode_raw(const Decoder& decoder, const at::Tensor& latents, DecoderState& state);

}  // namespace flowcache
