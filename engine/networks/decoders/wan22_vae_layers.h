// SPDX-License-Identifier: LGPL-2.1-or-later
// The networks of Wan 2.2's VAE. Beside the layers of Wan 2.1's they have levels with a way around them that has no
// weights, and squares of pixels that are channels. Written to compute what vae2_2.py of github.com/Wan-Video/Wan2.2 does.
#pragma once

#include "networks/decoders/wan_vae_layers.h"

namespace flowcache {
struct WanVaeConfig;
}

namespace flowcache::wan_vae {

// From what the file has of a latent to frames, and from frames to mean and variance of the posterior.
Layers wan22_decoder(const WanVaeConfig& config, Builder& builder);
Layers wan22_encoder(const WanVaeConfig& config, Builder& builder);

}  // namespace flowcache::wan_vae
