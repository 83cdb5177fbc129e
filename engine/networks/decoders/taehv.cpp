// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/decoders/taehv.h"

#include "error.h"
#include "networks/row_ranges.h"
#include "package/fields.h"
#include "place_pixels.h"
#include "process_end.h"

namespace flowcache {
namespace {

struct Config {
  int64_t latent_channels = 16, patch_size = 1, frames_to_trim = 0, slice_frames = 0;
  std::vector<int64_t> widths = {256, 128, 64, 64}, mem_blocks = {3, 3, 3};
  std::array<bool, 3> grows = {false, true, true};
  double latent_scale = 1;

  int64_t time_scale() const { return (grows[0] ? 2 : 1) * (grows[1] ? 2 : 1) * (grows[2] ? 2 : 1); }

  static Config from_json(const nlohmann::json& json) {
    const Fields fields(json, "taehv decoder", "config");
    fields.none_like({"latent_channels", "patch_size", "n_f", "mem_blocks", "decoder_time_upscale",
                      "slice_frames", "frames_to_trim", "latent_scale", "width", "encoder_time_downscale"});
    Config c;
    c.latent_channels = fields.integer("latent_channels", 1, 1024, c.latent_channels);
    c.patch_size = fields.integer("patch_size", 1, 16, c.patch_size);
    if (fields.has("n_f")) c.widths = fields.integers("n_f", 1, 4096);
    if (fields.has("mem_blocks")) c.mem_blocks = fields.integers("mem_blocks", 0, 64);
    if (c.widths.size() != 4) fields.fail("n_f", "four widths");
    if (c.mem_blocks.size() != 3) fields.fail("mem_blocks", "three counts");
    if (fields.has("decoder_time_upscale")) {
      const auto& grows = json["decoder_time_upscale"];
      if (!grows.is_array() || grows.size() != 3)
        fields.fail("decoder_time_upscale", "three of true or false");
      for (size_t i = 0; i < 3; ++i) {
        if (!grows[i].is_boolean()) fields.fail("decoder_time_upscale", "three of true or false");
        c.grows[i] = grows[i].get<bool>();
      }
    }
    c.slice_frames = fields.integer("slice_frames", 0, 1024, 0);
    c.frames_to_trim = fields.integer("frames_to_trim", 0, 1024, c.time_scale() - 1);
    c.latent_scale = fields.number("latent_scale", 1e-6, 1e6, 1.0);
    return c;
  }
};

struct DecoderConv {
  at::Tensor weight, bias;
  at::Tensor operator()(const at::Tensor& x) const {
    return at::conv2d(x, weight, bias, 1, weight.size(2) / 2);
  }
};

// A residual block over a frame and the one before it.
struct MemBlock {
  DecoderConv first, second, third;
};

// Twice the rows and columns, `factor` times the frames, another width: the checkpoint's nearest upsampling,
// 1x1 convolution to `factor` frames and 3x3 convolution in one. All three are linear, so they fold: of the
// nine taps on the fine grid, those that fall on the same coarse pixel add up, and each of a coarse pixel's
// four fine ones ("phases") is a 2x2 convolution of the coarse grid. Four ninths of the work, and nothing is
// upsampled.
struct Grow {
  at::Tensor weight;  // [factor * 4 * out, in, 2, 2]: frame, phase row, phase column, channel
  int64_t factor = 1, out = 0;

  static Grow fold(const at::Tensor& frames, const at::Tensor& conv, int64_t factor);
  // [n, in, h, w] -> [n * factor, out, 2h, 2w], with a ReLU behind it if asked for.
  at::Tensor operator()(const at::Tensor& x, bool relu) const;
};

struct Stage {
  std::vector<MemBlock> blocks;
  Grow grow;
};

// The last frame that each memory block saw, [1, C, h, w]; undefined before the first.
class TaehvState final : public DecoderState {
 public:
  std::vector<at::Tensor> last;
  int64_t to_trim = 0;
};

class Taehv final : public Decoder {
 public:
  Taehv(const Config& config, const WeightMap& weights, at::ScalarType compute, at::Device device);

  std::unique_ptr<DecoderState> open() const override {
    auto state = std::make_unique<TaehvState>();
    for (const Stage& stage : stages_) state->last.resize(state->last.size() + stage.blocks.size());
    state->to_trim = config_.frames_to_trim;
    return state;
  }
  at::Tensor decode(const at::Tensor& latents, DecoderState& state) const override;
  at::Tensor decode_raw(const at::Tensor& latents, TaehvState& state) const;
  at::Tensor decode_slice(const at::Tensor& latents, TaehvState& state) const;
  int64_t time_scale() const override { return config_.time_scale(); }
  int64_t space_scale() const override { return 8 * config_.patch_size; }

 private:
  at::Tensor remember(const MemBlock& block, const at::Tensor& x, at::Tensor& last) const;
  at::Tensor finish(const at::Tensor& x) const;

  Config config_;
  at::ScalarType compute_;
  at::Device device_;
  DecoderConv first_, last_;
  std::vector<Stage> stages_;
};

// Names and shapes of the layers, in the order of the checkpoint's nn.Sequential.
class Layers {
 public:
  Layers(const WeightMap& weights, at::ScalarType compute, at::Device device)
      : weights_(weights), compute_(compute), device_(device) {}

  void skip() { ++index_; }
  DecoderConv conv(const std::string& inner, int64_t in, int64_t out, int64_t size) {
    return {place(want(inner + ".weight", {out, in, size, size})), place(want(inner + ".bias", {out}))};
  }
  // A weight without a bias, to be worked on.
  at::Tensor fp32(const std::string& inner, int64_t in, int64_t out, int64_t size) {
    const at::Tensor t = want(inner + ".weight", {out, in, size, size});
    return t.defined() ? t.to(at::kFloat) : t;
  }
  at::Tensor place(const at::Tensor& weight) const {
    if (!weight.defined()) return {};
    const at::Tensor t = weight.to(device_, compute_, false, true);
    return t.dim() == 4 ? t.contiguous(at::MemoryFormat::ChannelsLast) : t;
  }
  // Throws for all keys at once.
  void check() const { check_weights(weights_, wanted_, "taehv decoder"); }

 private:
  // Undefined if it is not there or has another shape: check() will name it.
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

Taehv::Taehv(const Config& config, const WeightMap& weights, at::ScalarType compute, at::Device device)
    : config_(config), compute_(compute), device_(device) {
  Layers layers(weights, compute, device);
  const auto& n = config.widths;
  layers.skip();  // the clamp of latents
  first_ = layers.conv("", config.latent_channels, n[0], 3);
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
    if (frames.defined() && conv.defined()) stage.grow = Grow::fold(frames, conv, factor);
    if (stage.grow.weight.defined()) stage.grow.weight = layers.place(stage.grow.weight);
    stages_.push_back(std::move(stage));
  }
  layers.skip();  // ReLU
  last_ = layers.conv("", n[3], 3 * config.patch_size * config.patch_size, 3);
  layers.check();
}

// The frame before each frame: the remembered one (zeros at the start of a stream), then all but the newest.
at::Tensor Taehv::remember(const MemBlock& block, const at::Tensor& x, at::Tensor& last) const {
  if (!last.defined()) last = at::zeros_like(x.narrow(0, 0, 1));
  const at::Tensor past = at::cat({last, x.narrow(0, 0, x.size(0) - 1)});
  last = x.narrow(0, x.size(0) - 1, 1).clone();
  at::Tensor y = block.first(at::cat({x, past}, 1)).relu_();
  y = block.second(y).relu_();
  return block.third(y).add_(x).relu_();
}

Grow Grow::fold(const at::Tensor& frames, const at::Tensor& conv, int64_t factor) {
  const int64_t out = conv.size(0), in = frames.size(1);
  // [factor, out, in, 3, 3]: the 1x1 first, then the 3x3.
  const at::Tensor both = at::einsum("ocyx,fci->foiyx", {conv, frames.view({factor, -1, in})});
  // Fine row 2i sees coarse rows i - 1 (one tap) and i (two); fine row 2i + 1 sees i (two) and i + 1 (one).
  const auto taps = [](const at::Tensor& w, int64_t dim, int phase) {
    const at::Tensor a = w.select(dim, 0), b = w.select(dim, 1), c = w.select(dim, 2);
    return phase == 0 ? at::stack({a, b + c}, dim) : at::stack({a + b, c}, dim);
  };
  std::vector<at::Tensor> phases;
  for (const int row : {0, 1})
    for (const int column : {0, 1}) phases.push_back(taps(taps(both, 3, row), 4, column));
  return {at::stack(phases, 1).reshape({factor * 4 * out, in, 2, 2}), factor, out};
}

at::Tensor Grow::operator()(const at::Tensor& x, bool relu) const {
  // Padded by one on each side, position p of the result has seen coarse rows p - 1 and p.
  const at::Tensor y =
      at::conv2d(x, weight, {}, 1, 1).permute({0, 2, 3, 1}).contiguous().unflatten(3, {factor, 2, 2, out});
  return place_phases(y, relu).permute({0, 3, 1, 2});
}

// The last stage's growth and the output convolution, frame by frame: they are most of the work, and a
// frame's part of it fits a core's cache.
at::Tensor Taehv::finish(const at::Tensor& x) const {
  const int64_t factor = stages_.back().grow.factor, scale = 2 * config_.patch_size;
  at::Tensor frames =
      at::empty({x.size(0) * factor, 3, x.size(2) * scale, x.size(3) * scale}, x.options().dtype(at::kFloat));
  for_row_ranges(device_, x.size(0), /*slice=*/0,
                 [&](int64_t first, int64_t count) {
                   const at::Tensor y = last_(stages_.back().grow(x.narrow(0, first, count), /*relu=*/true));
                   place_patches(y.permute({0, 2, 3, 1}).contiguous(), config_.patch_size,
                                 frames.narrow(0, first * factor, count * factor));
                 },
                 {1, 1});
  return frames;
}

at::Tensor Taehv::decode_raw(const at::Tensor& latents, TaehvState& state) const {
  if (latents.dim() != 4 || latents.size(1) != config_.latent_channels)
    throw Error(FC_ERROR_INTERNAL, "taehv: latents must be [frames, " +
                                       std::to_string(config_.latent_channels) + ", rows, columns]");
  if (config_.slice_frames == 0 || config_.slice_frames >= latents.size(0))
    return decode_slice(latents, state);
  std::vector<at::Tensor> frames;
  for (const at::Tensor& slice : latents.split(config_.slice_frames))
    frames.push_back(decode_slice(slice, state));
  return at::cat(frames);
}

at::Tensor Taehv::decode_slice(const at::Tensor& latents, TaehvState& state) const {
  at::Tensor x = at::tanh(latents.to(device_, at::kFloat) * (config_.latent_scale / 3)) * 3;
  x = first_(x.to(compute_).contiguous(at::MemoryFormat::ChannelsLast)).relu_();
  size_t memory = 0;
  for (const Stage& stage : stages_) {
    stop_at_process_end();
    for (const MemBlock& block : stage.blocks) x = remember(block, x, state.last[memory++]);
    if (&stage != &stages_.back()) x = stage.grow(x, /*relu=*/false);
  }
  return finish(x);
}

at::Tensor Taehv::decode(const at::Tensor& latents, DecoderState& state) const {
  auto& own = static_cast<TaehvState&>(state);
  at::Tensor frames = decode_raw(latents, own).clamp_(0, 1);
  const int64_t trim = std::min(own.to_trim, frames.size(0));
  own.to_trim -= trim;
  return frames.narrow(0, trim, frames.size(0) - trim);
}

}  // namespace

std::unique_ptr<Decoder> make_taehv(const nlohmann::json& config, WeightMap weights, at::ScalarType compute,
                                    at::Device device) {
  if (compute != at::kFloat && compute != at::kBFloat16)
    throw Error(FC_ERROR_ARGUMENT,
                std::string("taehv computes in fp32 or bf16, not in ") + c10::toString(compute));
  std::erase_if(weights, [](const auto& entry) { return entry.first.starts_with("encoder."); });
  return std::make_unique<Taehv>(Config::from_json(config), weights, compute, device);
}

at::Tensor taehv_decode_raw(const Decoder& decoder, const at::Tensor& latents, DecoderState& state) {
  return static_cast<const Taehv&>(decoder).decode_raw(latents, static_cast<TaehvState&>(state));
}

}  // namespace flowcache
