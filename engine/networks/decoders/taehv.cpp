// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/decoders/taehv.h"

#include "error.h"
#include "package/fields.h"

namespace flowcache {
namespace {

struct Config {
  int64_t latent_channels = 16, patch_size = 1, frames_to_trim = 0;
  std::vector<int64_t> widths = {256, 128, 64, 64}, mem_blocks = {3, 3, 3};
  std::array<bool, 3> grows = {false, true, true};
  double latent_scale = 1;

  int64_t time_scale() const { return (grows[0] ? 2 : 1) * (grows[1] ? 2 : 1) * (grows[2] ? 2 : 1); }

  static Config from_json(const nlohmann::json& json) {
    const Fields fields(json, "taehv decoder", "config");
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
    c.frames_to_trim = fields.integer("frames_to_trim", 0, 1024, c.time_scale() - 1);
    c.latent_scale = fields.number("latent_scale", 1e-6, 1e6, 1.0);
    return c;
  }
};

struct Conv {
  at::Tensor weight, bias;
  at::Tensor operator()(const at::Tensor& x) const {
    return at::conv2d(x, weight, bias, 1, weight.size(2) / 2);
  }
};

// A residual block over a frame and the one before it.
struct MemBlock {
  Conv first, second, third;
};

// Twice the rows and columns, `factor` times the frames, another width.
struct Grow {
  Conv frames;  // 1x1
  int64_t factor = 1;
  Conv out;
};

struct Stage {
  std::vector<MemBlock> blocks;
  Grow grow;
};

// The last frame that each memory block saw, [1, C, h, w]; undefined before the first.
class State final : public DecoderState {
 public:
  std::vector<at::Tensor> last;
  int64_t to_trim = 0;
};

class Taehv final : public Decoder {
 public:
  Taehv(const Config& config, const WeightMap& weights, at::ScalarType compute, at::Device device);

  std::unique_ptr<DecoderState> open() const override {
    auto state = std::make_unique<State>();
    for (const Stage& stage : stages_) state->last.resize(state->last.size() + stage.blocks.size());
    state->to_trim = config_.frames_to_trim;
    return state;
  }
  at::Tensor decode(const at::Tensor& latents, DecoderState& state) const override;
  at::Tensor decode_raw(const at::Tensor& latents, State& state) const;
  int64_t time_scale() const override { return config_.time_scale(); }
  int64_t space_scale() const override { return 8 * config_.patch_size; }

 private:
  at::Tensor remember(const MemBlock& block, const at::Tensor& x, at::Tensor& last) const;
  at::Tensor grow(const Grow& grow, const at::Tensor& x) const;

  Config config_;
  at::ScalarType compute_;
  at::Device device_;
  Conv first_, last_;
  std::vector<Stage> stages_;
};

// Names and shapes of the layers, in the order of the checkpoint's nn.Sequential.
class Layers {
 public:
  Layers(const WeightMap& weights, at::ScalarType compute, at::Device device)
      : weights_(weights), compute_(compute), device_(device) {}

  void skip() { ++index_; }
  Conv conv(const std::string& inner, int64_t in, int64_t out, int64_t size, bool bias) {
    const std::string name = "decoder." + std::to_string(index_) + inner;
    wanted_.push_back({name + ".weight", {out, in, size, size}});
    if (bias) wanted_.push_back({name + ".bias", {out}});
    return {tensor(name + ".weight"), bias ? tensor(name + ".bias") : at::Tensor()};
  }
  const std::vector<WeightSpec>& wanted() const { return wanted_; }

 private:
  at::Tensor tensor(const std::string& name) const {
    const auto found = weights_.find(name);
    if (found == weights_.end()) return {};  // check_weights() will name it
    at::Tensor t = found->second.to(device_, compute_, false, true);
    return t.dim() == 4 ? t.contiguous(at::MemoryFormat::ChannelsLast) : t;
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
  first_ = layers.conv("", config.latent_channels, n[0], 3, true);
  layers.skip();
  layers.skip();  // ReLU
  for (size_t i = 0; i < 3; ++i) {
    Stage stage;
    for (int64_t block = 0; block < config.mem_blocks[i]; ++block) {
      stage.blocks.push_back({layers.conv(".conv.0", 2 * n[i], n[i], 3, true),
                              layers.conv(".conv.2", n[i], n[i], 3, true),
                              layers.conv(".conv.4", n[i], n[i], 3, true)});
      layers.skip();
    }
    layers.skip();  // upsampling
    stage.grow.factor = config.grows[i] ? 2 : 1;
    stage.grow.frames = layers.conv(".conv", n[i], n[i] * stage.grow.factor, 1, false);
    layers.skip();
    stage.grow.out = layers.conv("", n[i], n[i + 1], 3, false);
    layers.skip();
    stages_.push_back(std::move(stage));
  }
  layers.skip();  // ReLU
  last_ = layers.conv("", n[3], 3 * config.patch_size * config.patch_size, 3, true);
  check_weights(weights, layers.wanted(), "taehv decoder");
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

at::Tensor Taehv::grow(const Grow& grow, const at::Tensor& x) const {
  // A 1x1 convolution commutes with nearest upsampling: run it first, on a quarter of the pixels.
  const int64_t n = x.size(0), c = x.size(1), h = x.size(2), w = x.size(3);
  at::Tensor y = grow.frames(x);
  if (grow.factor > 1)
    y = y.view({n, grow.factor, c, h, w})
            .permute({0, 1, 3, 4, 2})
            .reshape({n * grow.factor, h, w, c})
            .permute({0, 3, 1, 2});
  return grow.out(at::upsample_nearest2d(y, at::IntArrayRef{2 * h, 2 * w}));
}

at::Tensor Taehv::decode_raw(const at::Tensor& latents, State& state) const {
  if (latents.dim() != 4 || latents.size(1) != config_.latent_channels)
    throw Error(FC_ERROR_INTERNAL, "taehv: latents must be [frames, " +
                                       std::to_string(config_.latent_channels) + ", rows, columns]");
  at::Tensor x = at::tanh(latents.to(device_, at::kFloat) * (config_.latent_scale / 3)) * 3;
  x = first_(x.to(compute_).contiguous(at::MemoryFormat::ChannelsLast)).relu_();
  size_t memory = 0;
  for (const Stage& stage : stages_) {
    for (const MemBlock& block : stage.blocks) x = remember(block, x, state.last[memory++]);
    x = grow(stage.grow, x);
  }
  x = last_(x.relu_()).to(at::kFloat).contiguous();
  return config_.patch_size > 1 ? at::pixel_shuffle(x, config_.patch_size) : x;
}

at::Tensor Taehv::decode(const at::Tensor& latents, DecoderState& state) const {
  auto& own = static_cast<State&>(state);
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
  return static_cast<const Taehv&>(decoder).decode_raw(latents, static_cast<State&>(state));
}

}  // namespace flowcache
