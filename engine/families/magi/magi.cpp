// SPDX-License-Identifier: LGPL-2.1-or-later
#include "families/magi/magi.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <cmath>

#include "base/error.h"
#include "families/magi/magi_weights.h"
#include "networks/attention.h"
#include "networks/row_ranges.h"

namespace flowcache {
namespace {

using magi::Block;
using magi::Norm;

// The last two rows of the null caption give the timestep condition, with and without text.
constexpr int64_t null_caption_tokens = 50;

struct MagiCondition final : Condition {
  at::Tensor time_offset;      // [condition] fp32, added to the timestep condition of the branch
  std::vector<KeyValue> text;  // cross-attention's keys and values of each layer, [kv_heads, n, head_dim]
};

at::Tensor normalise(const at::Tensor& x, const Norm& norm, double eps) {
  return at::layer_norm(x.to(norm.weight.scalar_type()), {norm.weight.size(0)}, norm.weight, norm.bias, eps);
}

at::Tensor split_heads(const at::Tensor& x, int64_t heads) {
  return x.view({x.size(0), heads, -1});  // [L, heads, d]
}

// Writes x [L, heads, d] fp32 to `out`, of the same shape and any type and strides. The first dimensions of each
// head are rotated, half against half; the others are unchanged.
void rotate(const at::Tensor& x, const at::Tensor& sines, const at::Tensor& cosines, at::Tensor out) {
  const int64_t half = sines.size(-1), rest = x.size(-1) - 2 * half;
  const at::Tensor first = x.narrow(-1, 0, half), second = x.narrow(-1, half, half);
  const at::Tensor s = sines.unsqueeze(1), c = cosines.unsqueeze(1);
  at::Tensor new_first = out.narrow(-1, 0, half), new_second = out.narrow(-1, half, half);
  at::addcmul_out(new_first, first * c, second, s, -1);
  at::addcmul_out(new_second, first * s, second, c);
  if (rest > 0) out.narrow(-1, 2 * half, rest).copy_(x.narrow(-1, 2 * half, rest));
}

// a + b in the type; at::add would make a tensor of the wider type first.
at::Tensor sum(const at::Tensor& a, const at::Tensor& b, at::ScalarType type) {
  at::Tensor out = at::empty(a.sizes(), a.options().dtype(type));
  return at::add_out(out, a, b);
}

// Positions of n rows or columns, with 0 in the middle. A grid of 256 tokens has the extent that the model
// was first trained on.
at::Tensor centred(int64_t n, double rescale, at::Device device) {
  const at::Tensor offset =
      at::arange(n, at::TensorOptions().dtype(at::kFloat).device(device)) - (n - 1) / 2.0;
  return n == 1 ? offset : offset / static_cast<double>(n - 1) * (static_cast<double>(n) / rescale - 1);
}

}  // namespace

struct MagiTransformer::Net {
  MagiConfig config;
  TransformerShape shape;
  at::ScalarType dtype = at::kFloat;
  Precision precision = at::kFloat;
  at::Device device = at::kCPU;
  magi::Weights weights;
  int64_t slice = 0;

  at::Tensor embed_time(double t) const {
    // Keep this order and fp32. With the step size the arguments are so large that one more rounding would be
    // visible.
    const at::Tensor& frequency = weights.timestep_frequencies;
    const at::Tensor argument = at::full({1}, t, frequency.options()) * frequency * 1000;
    const at::Tensor wave = at::cat({argument.cos(), argument.sin()}).to(dtype).to(at::kFloat);
    return at::linear(at::silu(at::linear(wave, weights.time1, weights.time1_bias)), weights.time2,
                      weights.time2_bias);
  }

  // Queries, keys and values, [heads + 2 kv_heads, rows, head_dim], of rows of h and their rows of the rotary
  // table.
  at::Tensor project(const Block& b, const at::Tensor& h, const at::Tensor& rope) const {
    const int64_t angles = rope.size(1) / 2, turned = config.heads + config.kv_heads;
    const at::Tensor all = split_heads(b.qkv.product(normalise(h, b.norm_attention, config.eps)),
                                       config.heads + 2 * config.kv_heads);
    at::Tensor out = at::empty({all.size(1), all.size(0), all.size(2)}, all.options());
    const at::Tensor by_row = out.transpose(0, 1);
    const at::Tensor alike =
        at::layer_norm(all.narrow(1, 0, turned).to(at::kFloat), {all.size(2)}, {}, {}, config.eps);
    rotate(at::addcmul(b.qk_norm.bias, alike, b.qk_norm.weight), rope.narrow(1, 0, angles),
           rope.narrow(1, angles, angles), by_row.narrow(1, 0, turned));
    by_row.narrow(1, turned, config.kv_heads).copy_(all.narrow(1, turned, config.kv_heads));
    return out;
  }

  at::Tensor self_attention(const Block& b, const at::Tensor& h, const at::Tensor& rope, KvView& kv,
                            int layer, const Embedded& embedded) const {
    AttentionMemory* const memory = embedded.attention;
    TokenSplit* const split = embedded.split;
    if (memory) {
      at::Tensor known = memory->recall(layer);
      if (known.defined()) return known;
    }
    const int64_t rows = h.size(0);
    const at::Tensor qkv = joined_slices(rows, slice, 1, [&](int64_t row, int64_t count) {
      return project(b, h.narrow(0, row, count), rope.narrow(0, row, count));
    });
    const auto own = qkv.narrow(0, config.heads, 2 * config.kv_heads).chunk(2);
    const at::Tensor q = qkv.narrow(0, 0, config.heads);
    TokenSplit::Attention mine{q, q, {own[0], own[1]}};
    if (split) mine = split->begin_attention(q, mine.own, kv, layer);
    const KeyValue all = kv.append(layer, mine.queries, mine.own);
    at::Tensor out = joined_slices(mine.q.size(1), slice, 0, [&](int64_t row, int64_t count) {
      return attend(mine.q.narrow(1, row, count), all.k, all.v);
    });
    if (split) out = split->end_attention(out);
    if (memory) memory->keep(layer, out);
    return out;
  }

  at::Tensor text_attention(const Block& b, const at::Tensor& normed, const KeyValue& text) const {
    const at::Tensor q =
        normalise(split_heads(b.q_text.product(normed), config.heads), b.q_norm_text, config.eps);
    return attend(q.transpose(0, 1), text.k, text.v);
  }

  // Returns rows of h after the rest of the block. attended: self-attention's output for these rows.
  at::Tensor mix_and_feed(const Block& b, const at::Tensor& h, const at::Tensor& attended,
                          const at::Tensor& gates, const KeyValue& text) const {
    const at::Tensor normed = normalise(h, b.norm_attention, config.eps);
    // The published code interleaves the two halves in 8 parts, whatever the number of heads.
    const auto parts = [&](const at::Tensor& half) { return half.view({h.size(0), 8, -1}); };
    const at::Tensor mixed =
        at::stack({parts(attended), parts(text_attention(b, normed, text))}, 2).view({h.size(0), -1});
    const at::Tensor a = gates.narrow(0, 0, config.hidden) * b.projection.product(mixed);
    const at::Tensor x = sum(normalise(a, b.post_attention, config.eps), h, dtype);
    at::Tensor m = b.fc1.product(normalise(x, b.norm_ffn, config.eps));
    m = config.gated_ffn ? at::silu(m.narrow(-1, 0, config.ffn)) * m.narrow(-1, config.ffn, config.ffn)
                         : at::gelu(m);
    m = gates.narrow(0, config.hidden, config.hidden) * b.fc2.product(m);
    return sum(normalise(m, b.post_ffn, config.eps), x, dtype);
  }

  // gates [2 hidden] fp32, of this block.
  at::Tensor block(int layer, const at::Tensor& h, const at::Tensor& gates, const at::Tensor& rope,
                   const KeyValue& text, KvView& kv, const Embedded& embedded) const {
    const Block& b = weights.blocks[static_cast<size_t>(layer)];
    const at::Tensor attended = self_attention(b, h, rope, kv, layer, embedded);
    return joined_slices(h.size(0), slice, 0, [&](int64_t row, int64_t count) {
      return mix_and_feed(b, h.narrow(0, row, count), attended.narrow(0, row, count), gates, text);
    });
  }

  // The gates of blocks first..last-1, [blocks, 2 hidden] fp32.
  at::Tensor gates(const at::Tensor& condition, int first, int last) const {
    const int64_t row = first * 2 * config.hidden, rows = (last - first) * 2 * config.hidden;
    const at::Tensor all = at::linear(at::silu(condition), weights.ada_weight.narrow(0, row, rows),
                                      weights.ada_bias.narrow(0, row, rows));
    return at::tanh(all).to(at::kFloat).view({last - first, 2 * config.hidden});
  }
};

double magi_step_size(int steps, double time_interval) {
  return steps == 12 ? 4.0 / time_interval * 2 : static_cast<double>(steps) / 4 * 2;
}

// The exponent is in fp32 as published. The exponential is computed in double, because the last bit of a float exponential depends
// on the processor, and the arguments are so large that it would be seen in the frames.
at::Tensor magi_timestep_frequencies() {
  const int64_t half = magi::time_waves / 2;
  const at::Tensor exponent = at::arange(half, at::kFloat) * -std::log(10000.0) / static_cast<double>(half);
  return at::exp(exponent.to(at::kDouble)).to(at::kFloat);
}

namespace {

TransformerShape shape_of(const MagiConfig& c) {
  return {.layers = c.layers,
          .dim = c.hidden,
          .heads = c.heads,
          .kv_heads = c.kv_heads,
          .head_dim = c.head_dim,
          .latent_channels = c.latent_channels,
          .patch_height = c.patch,
          .patch_width = c.patch,
          // q, q_text, k, v, the projection of both attentions, and the feed-forward
          .block_weights = c.hidden * (4 * c.heads * c.head_dim + 2 * c.kv_heads * c.head_dim +
                                       (c.gated_ffn ? 3 : 2) * c.ffn),
          .attention_weights = c.hidden * (c.heads + 2 * c.kv_heads) * c.head_dim};
}

}  // namespace

MagiTransformer::MagiTransformer(const MagiConfig& config, WeightMap weights, Precision precision,
                                 at::Device device, const std::string& what)
    : net_(std::make_unique<Net>(Net{config, shape_of(config), precision.compute, precision, device, {}})) {
  Parameters parameters;
  net_->weights.declare(config, parameters);
  parameters.load(std::move(weights), precision, device, what);
  net_->weights.finish(config);
  // The parts of what was joined; without this they would stay reserved.
  if (device.is_cuda()) c10::getDeviceAllocator(device.type())->emptyCache();
}

MagiTransformer::MagiTransformer(const MagiTransformer& before, const WeightMap& weights,
                                 const std::set<std::string>& touched, const std::string& what)
    : net_(std::make_unique<Net>(Net{before.net_->config,
                                     before.net_->shape,
                                     before.net_->dtype,
                                     before.net_->precision,
                                     before.net_->device,
                                     {}})) {
  Parameters parameters;
  net_->weights.declare(net_->config, parameters);
  parameters.load(weights, net_->precision, net_->device, what,
                  [&](const std::string& name) { return !touched.contains(name); });
  net_->weights.share(before.net_->weights);
  net_->weights.finish(net_->config);
  net_->slice = before.net_->slice;
  if (net_->device.is_cuda()) c10::getDeviceAllocator(net_->device.type())->emptyCache();
}

MagiTransformer::~MagiTransformer() = default;

void MagiTransformer::add_joined(std::set<std::string>& touched) const {
  magi::add_joined(net_->config.layers, touched);
}

void MagiTransformer::slice_tokens(int64_t most) {
  net_->slice = most;
}

const TransformerShape& MagiTransformer::shape() const {
  return net_->shape;
}

at::Tensor MagiTransformer::caption_tokens(const at::Tensor& features) const {
  const at::Tensor cut = features.narrow(0, 0, std::min(features.size(0), net_->config.caption_length));
  const at::Tensor wide = cut.to(net_->device, at::kFloat);
  return at::silu(at::linear(wide, net_->weights.text, net_->weights.text_bias)).to(net_->dtype);
}

std::shared_ptr<const Condition> MagiTransformer::condition(const at::Tensor& features) const {
  const MagiConfig& config = net_->config;
  if (features.dim() != 2 || features.size(0) < 1 || features.size(1) != config.caption_channels)
    throw Error(FC_ERROR_ARGUMENT, "magi: a caption must be [n >= 1, " +
                                       std::to_string(config.caption_channels) +
                                       "]; this text encoder belongs to another model");
  auto result = std::make_shared<MagiCondition>();
  const auto& w = net_->weights;
  result->time_offset = at::linear(w.null_caption.select(0, -2), w.text_condition, w.text_condition_bias);
  const at::Tensor tokens = caption_tokens(features);
  for (const Block& b : w.blocks) {
    const at::Tensor kv = split_heads(b.kv_text.product(tokens), config.kv_heads);
    const at::Tensor k = normalise(kv.narrow(-1, 0, config.head_dim), b.k_norm_text, config.eps);
    const at::Tensor v = kv.narrow(-1, config.head_dim, config.head_dim);
    result->text.push_back({k.transpose(0, 1).contiguous(), v.transpose(0, 1).contiguous()});
  }
  return result;
}

std::shared_ptr<const Condition> MagiTransformer::null_condition(bool unconditional) const {
  const auto& w = net_->weights;
  const int64_t tokens = std::min(null_caption_tokens, net_->config.caption_length);
  auto result = std::make_shared<MagiCondition>(
      static_cast<const MagiCondition&>(*condition(w.null_caption.narrow(0, 0, tokens))));
  if (unconditional)
    result->time_offset = at::linear(w.null_caption.select(0, -1), w.text_condition, w.text_condition_bias);
  return result;
}

Embedded MagiTransformer::embed(const at::Tensor& latent, std::span<const double> timesteps,
                                int64_t first_frame) const {
  if (timesteps.size() != 1)
    throw Error(FC_ERROR_ARGUMENT,
                "magi: a chunk has one timestep, " + std::to_string(timesteps.size()) + " given");
  return embed(latent, timesteps[0], first_frame, magi_step_size(net_->config.steps, 1));
}

Embedded MagiTransformer::embed(const at::Tensor& latent, double t, int64_t first_frame,
                                double step_size) const {
  const MagiConfig& config = net_->config;
  if (latent.dim() != 4 || latent.size(0) != config.latent_channels || latent.size(2) % config.patch != 0 ||
      latent.size(3) % config.patch != 0)
    throw Error(FC_ERROR_ARGUMENT, "magi: a latent must have " + std::to_string(config.latent_channels) +
                                       " channels, and height and width in multiples of " +
                                       std::to_string(config.patch));
  at::Tensor x = latent.to(net_->device, at::kFloat).unsqueeze(0) * config.latent_scale;
  if (config.doubled_channels) x = at::cat({x, x}, 1);
  const at::Tensor patches =
      at::conv3d(x, net_->weights.patch, {}, {1, config.patch, config.patch}).squeeze(0);
  Embedded embedded;
  embedded.grid = {patches.size(1), patches.size(2), patches.size(3)};
  embedded.tokens = patches.flatten(1).transpose(0, 1).contiguous().to(net_->dtype);
  embedded.time = net_->embed_time(t).unsqueeze(0);
  if (config.distilled) embedded.time = embedded.time + net_->embed_time(step_size).unsqueeze(0);
  embedded.modulation = embedded.time.unsqueeze(1);
  embedded.first_frame = first_frame;
  return embedded;
}

at::Tensor MagiTransformer::rope_table(const Embedded& embedded) const {
  const Grid& grid = embedded.grid;
  const at::Tensor& bands = net_->weights.bands;
  const double rescale = std::sqrt(static_cast<double>(grid.height * grid.width) / 256.0);
  const at::Tensor frame =
      at::arange(grid.frames, bands.options()) + static_cast<double>(embedded.first_frame);
  const auto angles = [&](const at::Tensor& coordinate, int axis) {
    std::vector<int64_t> shape = {1, 1, 1, bands.size(0)};
    shape[static_cast<size_t>(axis)] = coordinate.size(0);
    return (coordinate.unsqueeze(1) * bands).view(shape).expand({grid.frames, grid.height, grid.width, -1});
  };
  const at::Tensor all = at::cat({angles(frame, 0), angles(centred(grid.height, rescale, net_->device), 1),
                                  angles(centred(grid.width, rescale, net_->device), 2)},
                                 -1)
                             .reshape({grid.tokens(), -1});
  return at::cat({all.sin(), all.cos()}, -1);
}

at::Tensor MagiTransformer::chunk_condition(const Embedded& embedded, const Condition& condition) const {
  const auto& text = static_cast<const MagiCondition&>(condition);
  return (embedded.time.squeeze(0) + text.time_offset).to(net_->dtype);
}

at::Tensor MagiTransformer::blocks(const Embedded& embedded, at::Tensor tokens, const Condition& condition,
                                   KvView& kv, int first, int last) const {
  const at::Tensor rope = rope_table(embedded).narrow(0, embedded.first_row(), embedded.rows());
  const at::Tensor gates = net_->gates(chunk_condition(embedded, condition), first, last);
  const auto& text = static_cast<const MagiCondition&>(condition).text;
  for (int layer = first; layer < last; ++layer)
    tokens = net_->block(layer, tokens, gates[layer - first], rope, text[static_cast<size_t>(layer)], kv,
                         embedded);
  return tokens;
}

at::Tensor MagiTransformer::head(const Embedded& embedded, const at::Tensor& tokens) const {
  const MagiConfig& config = net_->config;
  const Grid& grid = embedded.grid;
  const at::Tensor x = at::linear(normalise(tokens.to(at::kFloat), net_->weights.final_norm, config.eps),
                                  net_->weights.final_linear);
  const at::Tensor pixels = x.view({grid.frames, grid.height, grid.width, config.patch, config.patch, -1})
                                .permute({5, 0, 1, 3, 2, 4})
                                .reshape({config.network_channels(), grid.frames, grid.height * config.patch,
                                          grid.width * config.patch});
  return (pixels.narrow(0, 0, config.latent_channels) / config.latent_scale).contiguous();
}

}  // namespace flowcache
