// SPDX-License-Identifier: LGPL-2.1-or-later
#include "families/wan/wan.h"

#include "base/error.h"
#include "families/wan/block.h"
#include "flash_attention.h"
#include "networks/row_ranges.h"
#include "networks/upload.h"

namespace flowcache {
namespace {

// Every range of rows reads a block's weights once, and in attention all keys and values once. The weights of
// a small model stay in a core's cache, so small ranges are fast. Those of a large model come from memory
// each time, so more rows must share them.
RangeSize range_size(const TransformerShape& shape) {
  constexpr int64_t cached_dim = 256;  // a block has 12 dim^2 weights, which is 3 MB
  return shape.dim <= cached_dim ? RangeSize{} : RangeSize{.least = 64, .most = 256};
}

class Wan final : public Transformer {
 public:
  Wan(wan::Config config, wan::Weights weights, Precision precision, at::Device device)
      : config_(config),
        shape_(config.shape()),
        weights_(std::move(weights)),
        precision_(precision),
        compute_(precision.compute),
        device_(device) {}

  const TransformerShape& shape() const override { return shape_; }
  std::shared_ptr<const Condition> condition(const at::Tensor& features) const override;
  Embedded embed(const at::Tensor& latent, std::span<const double> timesteps,
                 int64_t first_frame) const override;
  at::Tensor blocks(const Embedded& embedded, at::Tensor tokens, const Condition& condition, KvView& kv,
                    int first, int last) const override;
  at::Tensor head(const Embedded& embedded, const at::Tensor& tokens) const override;
  void slice_tokens(int64_t most) override { slice_ = most; }
  void add_joined(std::set<std::string>& touched) const override { wan::add_joined(config_, touched); }
  std::unique_ptr<Transformer> with_weights(const WeightMap& weights,
                                            const std::set<std::string>& touched) const override {
    const wan::Before before{weights_, touched};
    auto made = std::make_unique<Wan>(config_, wan::prepare(config_, weights, precision_, device_, &before),
                                      precision_, device_);
    made->slice_tokens(slice_);
    return made;
  }

 private:
  at::Tensor attend_all(const wan::SelfAttention& attention) const;

  const wan::Config config_;
  const TransformerShape shape_;
  const wan::Weights weights_;
  const Precision precision_;
  const at::ScalarType compute_;
  const at::Device device_;
  int64_t slice_ = 0;
};

std::shared_ptr<const Condition> Wan::condition(const at::Tensor& features) const {
  if (features.dim() != 2 || features.size(1) != config_.text_dim || features.size(0) > config_.text_len)
    throw Error(FC_ERROR_MODEL,
                "the text encoder gives " + std::to_string(features.size(0)) + " x " +
                    std::to_string(features.size(-1)) + " features; the transformer's config takes at most " +
                    std::to_string(config_.text_len) + " x " + std::to_string(config_.text_dim));
  // Padding rows are attended, too: their keys come from the biases, as in training.
  at::Tensor padded =
      at::zeros({config_.text_len, config_.text_dim}, at::TensorOptions(device_).dtype(at::kFloat));
  padded.narrow(0, 0, features.size(0)).copy_(features);
  const at::Tensor text = weights_.text_out(weights_.text_in(padded, Activation::gelu_tanh)).to(compute_);
  auto condition = std::make_shared<wan::TextKeys>();
  for (const auto& block : weights_.blocks)
    condition->layers.push_back(wan::text_keys(block, shape_, config_.eps, text));
  return condition;
}

Embedded Wan::embed(const at::Tensor& latent, std::span<const double> timesteps, int64_t first_frame) const {
  const int64_t frames = latent.size(1), ph = config_.patch_height, pw = config_.patch_width;
  const int64_t groups = static_cast<int64_t>(timesteps.size());
  if (latent.dim() != 4 || latent.size(0) != config_.in_channels || latent.size(2) % ph != 0 ||
      latent.size(3) % pw != 0)
    throw Error(FC_ERROR_INTERNAL, "wan: a latent must be [" + std::to_string(config_.in_channels) +
                                       ", frames, rows, columns] of whole patches");
  if (groups < 1 || frames % groups != 0)
    throw Error(FC_ERROR_INTERNAL, "wan: " + std::to_string(groups) + " timesteps do not divide " +
                                       std::to_string(frames) + " latent frames");
  Embedded out;
  out.grid = {frames, latent.size(2) / ph, latent.size(3) / pw};
  out.first_frame = first_frame;
  const RopeTable rope = rope_table(out.grid, first_frame, shape_.head_dim, device_,
                                    config_.rope_scale(out.grid.height * out.grid.width));
  out.rope = at::stack({rope.cos, rope.sin});
  // The patches do not overlap, so the convolution is a matrix product of gathered patches.
  const at::Tensor patches = latent.to(device_, at::kFloat)
                                 .view({config_.in_channels, frames, out.grid.height, ph, out.grid.width, pw})
                                 .permute({1, 2, 4, 0, 3, 5})
                                 .reshape({out.grid.tokens(), config_.patch_in()});
  out.tokens = weights_.patch(patches);
  const at::Tensor wave = upload(sinusoid(timesteps, config_.freq_dim), device_);
  out.time = weights_.time_out(at::silu(weights_.time_in(wave)));
  out.modulation = weights_.time_projection(at::silu(out.time)).view({groups, 6, config_.dim});
  return out;
}

// Attention of all queries over all keys: [tokens, heads * head_dim].
at::Tensor Wan::attend_all(const wan::SelfAttention& attention) const {
  const auto& [q, all, mixed, known, kept] = attention;
  at::Tensor out = at::empty({q.size(1), q.size(0) * q.size(2)}, q.options());
  for_row_ranges(
      device_, q.size(1), slice_,
      [&](int64_t row, int64_t count) {
        out.narrow(0, row, count).copy_(flash_attention(q.narrow(1, row, count), all.k, all.v));
      },
      range_size(shape_));
  return out;
}

at::Tensor Wan::blocks(const Embedded& embedded, at::Tensor tokens, const Condition& condition, KvView& kv,
                       int first, int last) const {
  if (first < 0 || last > shape_.layers || first > last || tokens.size(0) != embedded.rows())
    throw Error(FC_ERROR_INTERNAL, "wan: blocks [" + std::to_string(first) + ", " + std::to_string(last) +
                                       ") of " + std::to_string(shape_.layers) + " on " +
                                       std::to_string(tokens.size(0)) + " tokens");
  at::Tensor x = tokens.to(at::kFloat, false, /*copy=*/true);
  if (first == last) return x;
  const auto& text = static_cast<const wan::TextKeys&>(condition);
  wan::Pass pass{.shape = shape_, .eps = config_.eps, .compute = compute_};
  pass.first_row = embedded.first_row();
  pass.rope = {embedded.rope[0].narrow(0, pass.first_row, x.size(0)),
               embedded.rope[1].narrow(0, pass.first_row, x.size(0))};
  pass.rows_per_group = embedded.grid.tokens() / embedded.modulation.size(0);
  // [layers, groups, 6, dim]
  const at::Tensor modulation =
      weights_.modulation.narrow(0, first, last - first).unsqueeze(1) + embedded.modulation;

  // Rows depend on each other only in attention. All that lies between two attentions is one pass over a
  // range of rows: one parallel section for each layer, in which a range stays in its core's cache.
  const auto options = x.options().dtype(compute_);
  AttentionMemory* const memory = embedded.attention;
  const auto recall = [&](int layer) {
    return memory && layer < last ? memory->recall(layer) : at::Tensor();
  };
  const auto block = [&](int layer) {
    return wan::Block{weights_.blocks[layer], text.layers[layer], modulation[layer - first], pass};
  };
  const auto in_ranges = [&](const auto& work) {
    for_row_ranges(device_, x.size(0), slice_, work, range_size(shape_));
  };
  TokenSplit* const split = embedded.split;
  const auto places = [&](int layer) { return split ? KeyValue() : kv.slots(layer); };
  wan::SelfAttention attention{.known = recall(first)};
  wan::Projected projected;
  if (!attention.known.defined()) {
    projected = wan::Projected(shape_, x.size(0), options, places(first));
    in_ranges([&](int64_t row, int64_t count) { block(first).project(x, row, count, projected); });
  }
  for (int layer = first; layer < last; ++layer) {
    if (!attention.known.defined()) {
      TokenSplit::Attention mine{projected.q, projected.q, {projected.k, projected.v}};
      if (split) mine = split->begin_attention(mine.q, mine.own, kv, layer);
      attention.q = mine.q;
      attention.all = kv.append(layer, mine.queries, mine.own);
      if (embedded.keys_only && layer + 1 == shape_.layers) return x;
      if (split) attention.mixed = split->end_attention(attend_all(attention));
      if (memory) attention.kept = at::empty({x.size(0), shape_.dim}, options);
    }
    wan::SelfAttention next{.known = recall(layer + 1)};
    const bool project_next = layer + 1 < last && !next.known.defined();
    projected =
        project_next ? wan::Projected(shape_, x.size(0), options, places(layer + 1)) : wan::Projected();
    in_ranges([&](int64_t row, int64_t count) {
      block(layer).attend_and_feed(x, row, count, attention);
      if (project_next) block(layer + 1).project(x, row, count, projected);
    });
    if (attention.kept.defined()) memory->keep(layer, attention.kept);
    attention = next;
  }
  return x;
}

at::Tensor Wan::head(const Embedded& embedded, const at::Tensor& tokens) const {
  const Grid& g = embedded.grid;
  const int64_t ph = config_.patch_height, pw = config_.patch_width, channels = config_.out_channels;
  const RowGroups groups{0, g.tokens() / embedded.time.size(0)};
  const at::Tensor modulation = weights_.head_modulation + embedded.time.unsqueeze(1);  // [groups, 2, dim]
  const at::Tensor y = weights_.head(norm_modulate(tokens.to(at::kFloat), modulation.select(1, 1),
                                                   modulation.select(1, 0), groups, config_.eps, at::kFloat));
  return y.view({g.frames, g.height, g.width, ph, pw, channels})
      .permute({5, 0, 1, 3, 2, 4})
      .reshape({channels, g.frames, g.height * ph, g.width * pw});
}

}  // namespace

std::unique_ptr<Transformer> make_wan(const nlohmann::json& config, WeightMap weights, Precision precision,
                                      at::Device device) {
  const at::ScalarType compute = precision.compute;
  if (compute != at::kFloat && compute != at::kBFloat16)
    throw Error(FC_ERROR_ARGUMENT,
                std::string("wan computes in fp32 or bf16, not in ") + c10::toString(compute));
  const wan::Config parsed = wan::Config::from_json(config);
  return std::make_unique<Wan>(parsed, wan::prepare(parsed, std::move(weights), precision, device), precision,
                               device);
}

}  // namespace flowcache
