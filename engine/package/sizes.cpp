// SPDX-License-Identifier: LGPL-2.1-or-later
#include "package/sizes.h"

#include <algorithm>

#include "error.h"
#include "package/fields.h"
#include "package/model.h"

namespace flowcache {
namespace {

constexpr size_t most_good_sizes = 8;  // fc_model_info has room for so many

// Of a pair [width, height].
Pixels read_pixels(const Fields& sizes, const nlohmann::json& pair, const char* name, const Pixels& step) {
  const auto fits = [](const nlohmann::json& value, int64_t multiple) {
    return value.is_number_integer() && value.get<int64_t>() > 0 && value.get<int64_t>() <= 8192 &&
           value.get<int64_t>() % multiple == 0;
  };
  if (!pair.is_array() || pair.size() != 2 || !fits(pair[0], step.width) || !fits(pair[1], step.height))
    sizes.fail(name, "width and height, multiples of " + step.text() + " (one token) up to 8192");
  return {pair[0].get<int64_t>(), pair[1].get<int64_t>()};
}

bool within(const Pixels& size, const PictureSizes& sizes) {
  return size.width >= sizes.least.width && size.width <= sizes.most.width &&
         size.height >= sizes.least.height && size.height <= sizes.most.height;
}

// The possible sizes on both sides, one if they are the same.
std::string nearest(const Pixels& wanted, const PictureSizes& sizes) {
  const auto rounded = [&](bool up) {
    const auto side = [&](int64_t value, int64_t least, int64_t most, int64_t step) {
      return std::clamp((value + (up ? step - 1 : 0)) / step * step, least, most);
    };
    return Pixels{side(wanted.width, sizes.least.width, sizes.most.width, sizes.step.width),
                  side(wanted.height, sizes.least.height, sizes.most.height, sizes.step.height)};
  };
  const Pixels down = rounded(false), up = rounded(true);
  return down == up ? down.text() : down.text() + " and " + up.text();
}

}  // namespace

PictureSizes read_sizes(const Fields& video, const Pixels& native, const Pixels& step) {
  PictureSizes out{native, native, step, {native}};
  if (!video.has("sizes")) return out;
  const Fields sizes = video.object("sizes");
  const nlohmann::json& raw = sizes.raw();
  out.least = read_pixels(sizes, raw.value("least", nlohmann::json()), "least", step);
  out.most = read_pixels(sizes, raw.value("most", nlohmann::json()), "most", step);
  if (!within(native, out))
    sizes.fail("least", "with `most` a range around the video's own " + native.text());
  const nlohmann::json good = raw.value("good", nlohmann::json::array());
  if (!good.is_array() || good.size() >= most_good_sizes)
    sizes.fail("good", "a list of at most " + std::to_string(most_good_sizes - 1) + " sizes");
  for (const nlohmann::json& one : good) {
    const Pixels size = read_pixels(sizes, one, "good", step);
    if (!within(size, out)) sizes.fail("good", "sizes from `least` to `most`");
    if (size != native) out.good.push_back(size);
  }
  return out;
}

PictureSize picture_size(const ModelPackage& package, int64_t width, int64_t height) {
  if (width == 0 && height == 0)
    return {{package.width, package.height}, package.latent_width, package.latent_height};
  const PictureSizes& sizes = package.sizes;
  const Pixels wanted{width, height};
  const bool possible =
      within(wanted, sizes) && width % sizes.step.width == 0 && height % sizes.step.height == 0;
  if (!possible && sizes.least == sizes.most)
    throw Error(FC_ERROR_ARGUMENT, "the picture " + wanted.text() + " is not possible: this model draws " +
                                       sizes.least.text() + " only");
  if (!possible)
    throw Error(FC_ERROR_ARGUMENT, "the picture " + wanted.text() + " is not possible: this model draws " +
                                       sizes.least.text() + " to " + sizes.most.text() + " in steps of " +
                                       sizes.step.text() + "; nearest: " + nearest(wanted, sizes));
  const int64_t across = package.width / package.latent_width, down = package.height / package.latent_height;
  return {wanted, width / across, height / down};
}

}  // namespace flowcache
