// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/decoders/taehv_layers.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "package/fields.h"

namespace flowcache {

std::pair<std::vector<double>, std::vector<double>> latents_statistics(const nlohmann::json& json,
                                                                       const char* what, int64_t channels) {
  const Fields fields(json, what, "config");
  const auto read = [&](const char* name, bool positive) {
    std::vector<double> values;
    const nlohmann::json list = json.value(name, nlohmann::json::array());
    const auto number = [&](const nlohmann::json& one) { return one.is_number() && (!positive || one > 0); };
    if (!list.is_array() || !std::all_of(list.begin(), list.end(), number) ||
        (json.contains(name) && list.size() != static_cast<size_t>(channels)))
      fields.fail(name, std::to_string(channels) + (positive ? " numbers above 0" : " numbers") +
                            ", one for each channel");
    return list.get<std::vector<double>>();
  };
  auto result = std::make_pair(read("latents_mean", false), read("latents_std", true));
  if (result.first.size() != result.second.size())
    fields.fail("latents_mean", "given together with latents_std");
  return result;
}

}  // namespace flowcache

namespace flowcache::taehv {

Config Config::from_json(const nlohmann::json& json) {
  const Fields fields(json, "taehv decoder", "config");
  fields.none_like({"latent_channels", "patch_size", "n_f", "mem_blocks", "decoder_time_upscale",
                    "slice_frames", "frames_to_trim", "latent_scale", "latents_mean", "latents_std", "width",
                    "encoder_time_downscale"});
  Config c;
  c.latent_channels = fields.integer("latent_channels", 1, 1024, c.latent_channels);
  c.patch_size = fields.integer("patch_size", 1, 16, c.patch_size);
  if (fields.has("n_f")) c.widths = fields.integers("n_f", 1, 4096);
  if (fields.has("mem_blocks")) c.mem_blocks = fields.integers("mem_blocks", 0, 64);
  if (c.widths.size() != 4) fields.fail("n_f", "four widths");
  if (c.mem_blocks.size() != 3) fields.fail("mem_blocks", "three counts");
  if (fields.has("decoder_time_upscale")) {
    const auto& grows = json["decoder_time_upscale"];
    if (!grows.is_array() || grows.size() != 3) fields.fail("decoder_time_upscale", "three of true or false");
    for (size_t i = 0; i < 3; ++i) {
      if (!grows[i].is_boolean()) fields.fail("decoder_time_upscale", "three of true or false");
      c.grows[i] = grows[i].get<bool>();
    }
  }
  c.slice_frames = fields.integer("slice_frames", 0, 1024, 0);
  c.frames_to_trim = fields.integer("frames_to_trim", 0, 1024, c.time_scale() - 1);
  c.latent_scale = fields.number("latent_scale", 1e-6, 1e6, 1.0);
  std::tie(c.latents_mean, c.latents_std) = latents_statistics(json, "taehv decoder", c.latent_channels);
  return c;
}

namespace {

// Reads the layers one after the other, in the order of the checkpoint's nn.Sequential.
class Reader {
 public:
  Reader(const WeightMap& weights, at::ScalarType compute, at::Device device)
      : weights_(weights), compute_(compute), device_(device) {}

  void skip() { ++index_; }
  Conv conv(const std::string& inner, int64_t in, int64_t out, int64_t size) {
    return {place(want(inner + ".weight", {out, in, size, size})), place(want(inner + ".bias", {out}))};
  }
  // A weight without a bias, before it is folded.
  at::Tensor fp32(const std::string& inner, int64_t in, int64_t out, int64_t size) {
    const at::Tensor t = want(inner + ".weight", {out, in, size, size});
    return t.defined() ? t.to(at::kFloat) : t;
  }
  at::Tensor place(const at::Tensor& weight) const {
    if (!weight.defined()) return {};
    const at::Tensor t = weight.to(device_, compute_, false, true);
    return t.dim() == 4 ? t.contiguous(at::MemoryFormat::ChannelsLast) : t;
  }
  // Throws FC_ERROR_MODEL with all keys that do not fit.
  void check() const { check_weights(weights_, wanted_, "taehv decoder"); }

 private:
  // Undefined if the key is missing or has another shape; check() names it later.
  at::Tensor want(const std::string& inner, const std::vector<int64_t>& shape) {
    wanted_.push_back({"decoder." + std::to_string(index_) + inner, shape});
    const auto found = weights_.find(wanted_.back().name);
    return found != weights_.end() && found->second.sizes() == shape ? found->second : at::Tensor();
  }
  const WeightMap& weights_;
  at::ScalarType compute_;
  at::Device device_;
  int index_ = 0;
  std::vector<WeightSpec> wanted_;
};

Grow fold(const at::Tensor& frames, const at::Tensor& conv, int64_t factor) {
  const int64_t out = conv.size(0), in = frames.size(1);
  // [factor, out, in, 3, 3]: the 1x1 convolution followed by the 3x3.
  const at::Tensor both = at::einsum("ocyx,fci->foiyx", {conv, frames.view({factor, -1, in})});
  // Of three taps, fine row 2i has one on coarse row i - 1 and two on row i; fine row 2i + 1 has two on row i
  // and one on row i + 1.
  const auto taps = [](const at::Tensor& w, int64_t dim, int phase) {
    const at::Tensor a = w.select(dim, 0), b = w.select(dim, 1), c = w.select(dim, 2);
    return phase == 0 ? at::stack({a, b + c}, dim) : at::stack({a + b, c}, dim);
  };
  std::vector<at::Tensor> phases;
  for (const int row : {0, 1})
    for (const int column : {0, 1}) phases.push_back(taps(taps(both, 3, row), 4, column));
  return {at::stack(phases, 1).reshape({factor * 4 * out, in, 2, 2}), factor, out};
}

}  // namespace

Layers read_layers(const Config& config, const WeightMap& weights, at::ScalarType compute,
                   at::Device device) {
  Layers out;
  Reader layers(weights, compute, device);
  const auto& n = config.widths;
  layers.skip();  // the clamp of latents
  out.first = layers.conv("", config.latent_channels, n[0], 3);
  layers.skip();
  layers.skip();  // ReLU
  for (size_t i = 0; i < 3; ++i) {
    Stage stage;
    for (int64_t block = 0; block < config.mem_blocks[i]; ++block) {
      stage.blocks.push_back({layers.conv(".conv.0", 2 * n[i], n[i], 3),
                              layers.conv(".conv.2", n[i], n[i], 3), layers.conv(".conv.4", n[i], n[i], 3)});
      layers.skip();
    }
    layers.skip();  // upsampling
    const int64_t factor = config.grows[i] ? 2 : 1;
    const at::Tensor frames = layers.fp32(".conv", n[i], n[i] * factor, 1);
    layers.skip();
    const at::Tensor conv = layers.fp32("", n[i], n[i + 1], 3);
    layers.skip();
    if (frames.defined() && conv.defined()) stage.grow = fold(frames, conv, factor);
    if (stage.grow.weight.defined()) stage.grow.weight = layers.place(stage.grow.weight);
    out.stages.push_back(std::move(stage));
  }
  layers.skip();  // ReLU
  out.last = layers.conv("", n[3], 3 * config.patch_size * config.patch_size, 3);
  layers.check();
  return out;
}

}  // namespace flowcache::taehv
