// SPDX-License-Identifier: LGPL-2.1-or-later
// A decoder on another device than the network's: a chunk is decoded there while the next one's steps run here.
#pragma once

#include <memory>

#include "networks/decoders/decoder.h"

namespace flowcache {

// decoder: on `away`. Latents are taken from `home`, frames given back there, both in the order of the calling thread's lane
// of `home`. All streams of a model share one lane of `away`. Any thread, like every Decoder.
std::unique_ptr<Decoder> make_away_decoder(std::unique_ptr<Decoder> decoder, at::Device away,
                                           at::Device home);

}  // namespace flowcache
