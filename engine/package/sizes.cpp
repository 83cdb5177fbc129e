// SPDX-License-Identifier: LGPL-2.1-or-later
#include "package/sizes.h"

#include <algorithm>

#include "base/error.h"
#include "package/fields.h"

namespace flowcache {
namespace {

constexpr size_t most_good_sizes = 8;  // as many as fc_model_info has room for

// Reads a pair [width, height].
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

// Words for a message: the possible sizes below and above; one of them if they are the same.
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

// Pixels that one token covers.
Pixels token_of(const Fields& root) {
  const Fields transformer = root.object("transformer").object("config");
  std::vector<int64_t> patch = {1, 2, 2};
  if (transformer.has("patch_size")) patch = transformer.integers("patch_size", 1, 16);
  if (patch.size() != 3) transformer.fail("patch_size", "three sizes: frames, rows, columns");
  const int64_t space = latent_scales(root.object("decoder")).space;
  return {space * patch[2], space * patch[1]};
}

}  // namespace

LatentScales latent_scales(const Fields& decoder) {
  const std::string kind = decoder.string("kind", 63);
  if (kind == "wan22_vae") return {4, 16};
  if (kind != "taehv") return {};  // the other public video VAEs: 4 x 8 x 8
  const Fields config = decoder.object("config");
  const int64_t patch = config.integer("patch_size", 1, 16, 1);
  LatentScales scales{1, 8 * patch};  // three doublings, then pixel shuffle
  if (!config.has("decoder_time_upscale")) return {4, scales.space};
  const nlohmann::json& grows = config.raw()["decoder_time_upscale"];
  if (!grows.is_array() || grows.size() != 3) config.fail("decoder_time_upscale", "three of true or false");
  for (const nlohmann::json& grow : grows) {
    if (!grow.is_boolean()) config.fail("decoder_time_upscale", "three of true or false");
    if (grow.get<bool>()) scales.time *= 2;
  }
  return scales;
}

LatentChannels latent_channels(const Fields& decoder) {
  const std::string kind = decoder.string("kind", 63);
  const char* field = kind == "wan_vae" || kind == "wan22_vae" ? "z_dim" : "latent_channels";
  return {field, decoder.object("config", true).integer(field, 1, 1024, kind == "wan22_vae" ? 48 : 16)};
}

PictureSizes read_sizes(const Fields& root, const Pixels& native) {
  const Fields video = root.object("video");
  const Pixels step = token_of(root);
  if (native.width % step.width != 0)
    video.fail("width", "a multiple of " + std::to_string(step.width) + " (one token)");
  if (native.height % step.height != 0)
    video.fail("height", "a multiple of " + std::to_string(step.height) + " (one token)");
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

Pixels checked_size(const PictureSizes& sizes, int64_t width, int64_t height) {
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
  return wanted;
}

}  // namespace flowcache
