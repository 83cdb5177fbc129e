// SPDX-License-Identifier: LGPL-2.1-or-later
// The pictures that a model draws: one native size, and others where model.json says so.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace flowcache {

class Fields;
struct ModelPackage;

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

// A picture in pixels, and what it is in the latent.
struct PictureSize {
  Pixels pixels;
  int64_t latent_width = 0, latent_height = 0;
};

// video.sizes of model.json. native: the video's own size; step: pixels of a token. FC_ERROR_MODEL for sizes
// that are no multiples of it or do not lie around the native one.
PictureSizes read_sizes(const Fields& video, const Pixels& native, const Pixels& step);

// The size that was asked for; 0 and 0: the native one. FC_ERROR_ARGUMENT for one that the model does not
// draw; the sentence has the nearest.
PictureSize picture_size(const ModelPackage& package, int64_t width, int64_t height);

}  // namespace flowcache
