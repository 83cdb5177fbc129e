// SPDX-License-Identifier: LGPL-2.1-or-later
// The names under which other libraries publish the networks that run here.
#pragma once

#include <span>

#include "package/naming.h"

namespace flowcache {

// Wan's and SkyReels-V2's transformers in diffusers (WanTransformer3DModel, SkyReelsV2Transformer3DModel).
std::span<const Naming> transformer_namings();
// Wan's VAE in diffusers (AutoencoderKLWan), with two residual blocks a level, as published.
std::span<const Naming> decoder_namings();
// UMT5 in the names of Hugging Face (UMT5EncoderModel, ComfyUI), and of llama.cpp, as GGUF files have them.
std::span<const Naming> text_namings();

}  // namespace flowcache
