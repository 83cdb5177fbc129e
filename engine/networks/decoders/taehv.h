// SPDX-License-Identifier: LGPL-2.1-or-later
// TAEHV (github.com/madebyollin/taehv): a small convolutional decoder. A frame depends on itself and the
// frame before it, so a stream can be decoded piece by piece.
#pragma once

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "networks/decoders/decoder.h"
#include "package/safetensors.h"

namespace flowcache {

// config, with defaults in brackets:
//   latent_channels (16), patch_size (1)
//   n_f (256, 128, 64, 64)           widths of the stages
//   mem_blocks (3, 3, 3)             memory blocks of each stage
//   decoder_time_upscale             for each stage: does it double the number of frames? (false, true, true)
//   frames_to_trim (2^doublings - 1) frames left out at the start of a stream
//   latent_scale (1)                 latents are multiplied by it before they are decoded
//   latents_mean, latents_std        a number for each channel: latents become z * std + mean before that. LightX2V's
//                                    lighttae decoders need them; madebyollin's TAEHV has them in its weights
//   slice_frames (0)                 latent frames that are decoded at once; 0: all
// weights: the checkpoint's decoder.* keys; its encoder.* keys are ignored. compute: type of the
// convolutions, fp32 or bf16. Throws FC_ERROR_MODEL for a config field out of range, and with all keys that
// do not fit.
std::unique_ptr<Decoder> make_taehv(const nlohmann::json& config, WeightMap weights, at::ScalarType compute,
                                    at::Device device);

// latents_mean and latents_std of a config, each with a number for each channel, or both empty. Throws FC_ERROR_MODEL.
std::pair<std::vector<double>, std::vector<double>> latents_statistics(const nlohmann::json& config,
                                                                       const char* what, int64_t channels);

// For tests: what decode() returns, before frames are left out and clamped to 0..1. decoder: of make_taehv().
at::Tensor taehv_decode_raw(const Decoder& decoder, const at::Tensor& latents, DecoderState& state);

}  // namespace flowcache
