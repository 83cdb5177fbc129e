// SPDX-License-Identifier: LGPL-2.1-or-later
// Files of weights as they are downloaded, whatever their names: safetensors, what torch.save wrote, GGUF, npz.
#pragma once

#include "package/safetensors.h"

namespace flowcache {

// All tensors of a file by the names in it. What the file is, its first bytes say. Nothing is read before it is used:
// tensors are views of the mapped file, and those of GGUF's Q8_0 are made by dense() of deferred.h. Throws as the
// readers do, and FC_ERROR_MODEL for a file that is none of these, with what it seems to be.
WeightMap read_weights(const std::filesystem::path& file);

// Joins matrices in 8 bits with their scales, in place:
//   X.weight with X.scale_weight or X.weight_scale: ComfyUI, LightX2V; one scale, or one for each row
// and drops what only a computation in 8 bits needs (X.scale_input, X.input_scale, scaled_fp8, X.comfy_quant), and
// ComfyUI's copy of a tokenizer (spiece_model). Throws FC_ERROR_MODEL for scales that do not fit, and for fp8 without
// them among scaled ones. what: for the message.
void join_scales(WeightMap& weights, const std::string& what);

// Keeps what lies under `key`, and takes it off the names: of "generator_ema.blocks.0.…" what comes behind the first
// dot. Throws FC_ERROR_MODEL if there is nothing, with what there is.
WeightMap under_key(WeightMap weights, const std::string& key, const std::string& what);

}  // namespace flowcache
