// SPDX-License-Identifier: LGPL-2.1-or-later
// The picture sizes that a model draws: its native size, and others if model.json allows them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace flowcache {

class Fields;

struct Pixels {
  int64_t width = 0, height = 0;
  bool operator==(const Pixels&) const = default;
  std::string text() const { return std::to_string(width) + "x" + std::to_string(height); }
};

// All sizes from `least` to `most` in steps of `step` are possible. If there is only the native
// size, both are that.
struct PictureSizes {
  Pixels least, most, step;
  std::vector<Pixels> good;  // sizes that the model is good at, the native one first
};

// How many frames a latent frame becomes, and how many pixels a latent row or column.
struct LatentScales {
  int64_t time = 4, space = 8;
};

// decoder: that section of a model.json. Throws FC_ERROR_MODEL.
LatentScales latent_scales(const Fields& decoder);

// How many channels a decoder's latents have, and which field of its config says so.
struct LatentChannels {
  const char* field;
  int64_t count;
};
LatentChannels latent_channels(const Fields& decoder);

// Reads video.sizes. root: the whole object of a model.json; native: the video's own size. Throws
// FC_ERROR_MODEL for sizes that are no multiples of a token's, and if the native size does not lie between
// least and most.
PictureSizes read_sizes(const Fields& root, const Pixels& native);

// Returns the size. Throws FC_ERROR_ARGUMENT if the model does not draw it; the sentence
// names the nearest one.
Pixels checked_size(const PictureSizes& sizes, int64_t width, int64_t height);

}  // namespace flowcache
