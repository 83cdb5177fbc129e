// SPDX-License-Identifier: LGPL-2.1-or-later
// The pictures that a model draws: one native size, and others where model.json says so.
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

// Every size from `least` to `most` in steps of `step` is possible; without others all are the native one.
struct PictureSizes {
  Pixels least, most, step;
  std::vector<Pixels> good;  // what the model is good at, the native size first
};

// How many frames a latent frame and pixels a latent column become.
struct LatentScales {
  int64_t time = 4, space = 8;
};

// decoder: of model.json. Errors: MODEL.
LatentScales latent_scales(const Fields& decoder);

// video.sizes of a model.json. native: the video's own size. FC_ERROR_MODEL for sizes that are no multiples
// of a token or do not lie around the native one.
PictureSizes read_sizes(const Fields& root, const Pixels& native);

// The size as it is. FC_ERROR_ARGUMENT for one that the model does not draw; the sentence has the nearest.
Pixels checked_size(const PictureSizes& sizes, int64_t width, int64_t height);

}  // namespace flowcache
