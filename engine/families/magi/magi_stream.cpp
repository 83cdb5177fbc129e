// SPDX-License-Identifier: LGPL-2.1-or-later
#include "families/magi/magi_stream.h"

#include <cmath>

#include "base/error.h"

namespace flowcache {
namespace {

// Two passes share one cache, each with half of the heads. The first pass writes its half and zeros in the
// other; the second writes both halves. Nobody else reads the chunk's slots in between.
class Halves {
 public:
  explicit Halves(KvView& all) : all_(all) {}
  bool looks_at_queries() const { return all_.looks_at_queries(); }

  KeyValue append_first(int layer, const at::Tensor& q, const KeyValue& own) {
    const KeyValue got =
        all_.append(layer, at::cat({q, at::zeros_like(q)}),
                    {at::cat({own.k, at::zeros_like(own.k)}), at::cat({own.v, at::zeros_like(own.v)})});
    const int64_t heads = own.k.size(0);
    return {got.k.narrow(0, 0, heads), got.v.narrow(0, 0, heads)};
  }
  KeyValue append_second(int layer, const at::Tensor& q, const KeyValue& own) {
    const int64_t heads = own.k.size(0);
    const KeyValue stored = all_.slots(layer);
    const auto first_half = [&](const at::Tensor& slots, const at::Tensor& second) {
      return slots.defined() ? slots.narrow(0, 0, heads) : at::zeros_like(second);  // no cache keeps it
    };
    const at::Tensor k = first_half(stored.k, own.k), v = first_half(stored.v, own.v);
    const KeyValue got = all_.append(layer, at::cat({q, q}), {at::cat({k, own.k}), at::cat({v, own.v})});
    return {got.k.narrow(0, heads, heads), got.v.narrow(0, heads, heads)};
  }
  KeyValue append_both(int layer, const at::Tensor& q, const KeyValue& own) {
    const KeyValue got =
        all_.append(layer, at::cat({q, q}), {at::cat({own.k, own.k}), at::cat({own.v, own.v})});
    return {got.k.narrow(0, 0, own.k.size(0)), got.v.narrow(0, 0, own.k.size(0))};
  }

 private:
  KvView& all_;
};

class HalfView final : public KvView {
 public:
  using Append = KeyValue (Halves::*)(int, const at::Tensor&, const KeyValue&);
  HalfView(Halves& halves, Append append) : halves_(halves), append_(append) {}
  bool looks_at_queries() const override { return halves_.looks_at_queries(); }
  KeyValue append(int layer, const at::Tensor& q, const KeyValue& own) override {
    return (halves_.*append_)(layer, q, own);
  }

 private:
  Halves& halves_;
  Append append_;
};

// The part of the attention memory that belongs to one pass.
class PassMemory final : public AttentionMemory {
 public:
  PassMemory(AttentionMemory& all, int first) : all_(all), first_(first) {}
  at::Tensor recall(int layer) override { return all_.recall(first_ + layer); }
  void keep(int layer, const at::Tensor& output) override { all_.keep(first_ + layer, output); }

 private:
  AttentionMemory& all_;
  int first_;
};

class MagiStream final : public Transformer {
 public:
  MagiStream(const MagiConfig& config, const MagiPasses& passes, WeightMap weights, Precision precision,
             at::Device device)
      : config_(config),
        passes_(passes),
        magi_(config, std::move(weights), precision, device, "magi transformer"),
        shape_(magi_.shape()),
        clean_(magi_.null_condition(passes.guided)),
        unconditional_(passes.guided ? clean_ : nullptr) {
    widen();
  }
  MagiStream(const MagiStream& before, const WeightMap& weights, const std::set<std::string>& touched)
      : config_(before.config_),
        passes_(before.passes_),
        magi_(before.magi_, weights, touched, "magi transformer"),
        shape_(before.shape_),
        clean_(magi_.null_condition(passes_.guided)),
        unconditional_(passes_.guided ? clean_ : nullptr) {}

  const TransformerShape& shape() const override { return shape_; }
  std::shared_ptr<const Condition> condition(const at::Tensor& features) const override {
    return magi_.condition(features);
  }
  Embedded embed(const at::Tensor& latent, std::span<const double> timesteps,
                 int64_t first_frame) const override;
  at::Tensor blocks(const Embedded& embedded, at::Tensor tokens, const Condition& condition, KvView& kv,
                    int first, int last) const override;
  at::Tensor head(const Embedded& embedded, const at::Tensor& tokens) const override;
  void slice_tokens(int64_t most) override { magi_.slice_tokens(most); }
  void add_joined(std::set<std::string>& touched) const override { magi_.add_joined(touched); }
  std::unique_ptr<Transformer> with_weights(const WeightMap& weights,
                                            const std::set<std::string>& touched) const override {
    return std::make_unique<MagiStream>(*this, weights, touched);
  }
  int64_t prefix_context() const override {
    return passes_.clean_key_range > 0 ? passes_.clean_key_range
                                       : (passes_.key_range.empty() ? 8 : passes_.key_range.back());
  }

 private:
  // Two passes with history are side by side in the cache.
  void widen() {
    if (!passes_.guided) return;
    shape_.heads *= 2;
    shape_.kv_heads *= 2;
    shape_.head_sets = 2;
  }
  static bool is_clean(const Embedded& e) { return e.timestep == 0; }
  static double time_of(const Embedded& e) { return 1 - e.timestep; }
  int64_t passes() const { return passes_.guided ? 3 : passes_.near_clean ? 2 : 1; }
  bool runs_alone(const Embedded& e) const {
    if (is_clean(e)) return false;
    if (passes_.guided) return passes_.guidance.scales(time_of(e)).needs_alone();
    return passes_.near_clean && time_of(e) > *passes_.near_clean;
  }
  int64_t keys(const Embedded& e) const;

  MagiConfig config_;
  MagiPasses passes_;
  MagiTransformer magi_;
  TransformerShape shape_;
  std::shared_ptr<const Condition> clean_, unconditional_;
};

Embedded MagiStream::embed(const at::Tensor& latent, std::span<const double> timesteps,
                           int64_t first_frame) const {
  if (timesteps.size() != 1)
    throw Error(FC_ERROR_ARGUMENT,
                "magi: a chunk has one timestep, " + std::to_string(timesteps.size()) + " given");
  const bool clean = timesteps[0] == 0;
  const double t = clean ? static_cast<float>(passes_.clean_time) : 1 - timesteps[0];
  // A clean chunk runs as the first step of a stage does, and is told that step's size.
  const double interval = magi_time_interval(clean ? 0 : t, config_.steps, passes_.shortcut);
  Embedded embedded = magi_.embed(latent, t, first_frame, magi_step_size(config_.steps, interval));
  embedded.timestep = timesteps[0];
  if (passes() > 1) embedded.tokens = embedded.tokens.repeat({passes(), 1});
  return embedded;
}

int64_t MagiStream::keys(const Embedded& e) const {
  const auto& range = passes_.key_range;
  if (range.empty()) return INT64_MAX;
  const size_t part =
      is_clean(e)
          ? range.size() - 1
          : std::min(
                range.size() - 1,
                static_cast<size_t>(magi_progress(time_of(e)) * static_cast<double>(range.size()) + 1e-4));
  const int chunks = is_clean(e) && passes_.clean_key_range > 0 ? passes_.clean_key_range : range[part];
  return chunks * e.grid.tokens();
}

at::Tensor MagiStream::blocks(const Embedded& embedded, at::Tensor tokens, const Condition& condition,
                              KvView& kv, int first, int last) const {
  const int64_t rows = embedded.rows();
  const auto pass = [&](int index, const Condition& text, KvView& view) {
    const at::Tensor own = tokens.narrow(0, index * rows, rows);
    if (!embedded.attention) return magi_.blocks(embedded, own, text, view, first, last);
    PassMemory memory(*embedded.attention, index * shape_.layers);
    Embedded with_memory = embedded;
    with_memory.attention = &memory;
    return magi_.blocks(with_memory, own, text, view, first, last);
  };
  NewestKeys limited(kv, keys(embedded));
  if (!passes_.guided) {
    std::vector<at::Tensor> out = {pass(0, is_clean(embedded) ? *clean_ : condition, limited)};
    if (passes() == 1) return out[0];
    OwnKeys alone;
    out.push_back(runs_alone(embedded) ? pass(1, condition, alone) : tokens.narrow(0, rows, rows));
    return at::cat(out);
  }
  Halves halves(limited);
  if (is_clean(embedded)) {  // writes the history of both passes
    HalfView both(halves, &Halves::append_both);
    return pass(0, *clean_, both).repeat({passes(), 1});
  }
  HalfView with_caption(halves, &Halves::append_first), without(halves, &Halves::append_second);
  OwnKeys alone;
  std::vector<at::Tensor> out = {pass(0, condition, with_caption)};
  out.push_back(pass(1, *unconditional_, without));
  out.push_back(runs_alone(embedded) ? pass(2, *unconditional_, alone) : tokens.narrow(0, 2 * rows, rows));
  return at::cat(out);
}

at::Tensor MagiStream::head(const Embedded& embedded, const at::Tensor& tokens) const {
  const int64_t rows = embedded.grid.tokens();
  const auto velocity = [&](int64_t index, bool needed = true) {
    return needed ? magi_.head(embedded, tokens.narrow(0, index * rows, rows)) : at::Tensor();
  };
  if (is_clean(embedded)) return velocity(0);
  if (!passes_.guided) {
    if (!runs_alone(embedded)) return velocity(0);
    return passes_.history_share * velocity(0) + (1 - passes_.history_share) * velocity(1);
  }
  const double t = time_of(embedded);
  const MagiGuidance::Scales scales = passes_.guidance.scales(t);
  return passes_.guidance.combine(t, {.text = velocity(0, scales.needs_text()),
                                      .null = velocity(1, scales.needs_null()),
                                      .alone = velocity(2, scales.needs_alone())});
}

}  // namespace

MagiPasses MagiPasses::from_json(const nlohmann::json& json) {
  MagiPasses p;
  const auto bad = [](const std::string& why) { throw Error(FC_ERROR_MODEL, "magi config: " + why); };
  try {
    const nlohmann::json none = nlohmann::json::object();
    const nlohmann::json runtime = json.value("runtime_config", none),
                         engine = json.value("engine_config", none);
    const int passes = runtime.value("cfg_number", 1);
    if (passes != 1 && passes != 3) bad("cfg_number " + std::to_string(passes) + " is neither 1 nor 3");
    p.guided = passes == 3;
    p.guidance.times = runtime.value("cfg_t_range", p.guidance.times);
    p.guidance.history = runtime.value("prev_chunk_scales", p.guidance.history);
    p.guidance.text = runtime.value("text_scales", p.guidance.text);
    if (engine.value("distill", false) && engine.contains("distill_nearly_clean_chunk_threshold"))
      p.near_clean = engine.at("distill_nearly_clean_chunk_threshold").get<double>();
    p.key_range = runtime.value("noise2clean_kvrange", p.key_range);
    p.clean_key_range = runtime.value("clean_chunk_kvrange", p.clean_key_range);
    p.clean_time = runtime.value("clean_t", p.clean_time);
    p.shortcut = engine.value("shortcut_mode", p.shortcut);
  } catch (const nlohmann::json::exception& error) {
    bad(error.what());
  }
  const size_t borders = p.guidance.times.size();
  if (borders == 0 || p.guidance.history.size() != borders || p.guidance.text.size() != borders)
    bad("cfg_t_range, prev_chunk_scales and text_scales need as many entries as each other");
  for (const int chunks : p.key_range)
    if (chunks < 1) bad("noise2clean_kvrange holds " + std::to_string(chunks) + "; wanted 1 or more chunks");
  if (!(p.clean_time > 0 && p.clean_time <= 1)) bad("clean_t must be above 0 and at most 1");
  return p;
}

double magi_progress(double t) {
  return std::sqrt(3 * t / (1 + 2 * t));
}

double magi_time_interval(double t, int steps, const std::string& shortcut) {
  if (steps != 12) return 1;
  // The place in its quarter: 0, 1/2 or 3/4 of it; or 0, 1/4 or 1/2.
  const double quarters = magi_progress(t) * 4 + 1e-4, part = quarters - std::floor(quarters);
  if (shortcut == "16,16,8") return part > 0.375 ? 2 : 1;
  return part < 0.25 ? 2 : 1;
}

std::unique_ptr<Transformer> make_magi(const nlohmann::json& config, WeightMap weights, Precision precision,
                                       at::Device device) {
  return std::make_unique<MagiStream>(MagiConfig::from_json(config), MagiPasses::from_json(config),
                                      std::move(weights), precision, device);
}

}  // namespace flowcache
