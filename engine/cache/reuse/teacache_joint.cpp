// SPDX-License-Identifier: LGPL-2.1-or-later
// TeaCache with one decision for all chunks in flight (arXiv 2411.19108, as FlowCache's paper runs it). It is
// the baseline that FlowCache's decisions for each chunk are compared with.
#include <algorithm>

#include "cache/registry.h"
#include "cache/reuse/accumulator.h"
#include "cache/reuse/distance.h"
#include "cache/reuse/polynomial.h"
#include "cache/reuse/predictor.h"

namespace flowcache {
namespace {

struct TeaCacheJointConfig {
  int warmup = 5;  // first ticks of the stream, always computed
  // How the chunks in flight are compared when some have entered or left. False: each chunk with itself.
  // True: with the chunk that was at the same place before, as in the code that made the paper's figures.
  bool by_position = false;
  std::vector<double> polynomial;
};

class TeaCacheJoint final : public ReusePolicy {
 public:
  explicit TeaCacheJoint(TeaCacheJointConfig config) : config_(std::move(config)) {}

  Tap taps() const override { return Tap::tokens; }
  ReuseKind kind() const override { return ReuseKind::velocity; }

  std::vector<Decision> decide(std::span<const ChunkStep> tick, double threshold) override {
    if (tick.empty()) return {};
    const Decision joint = decide_window(tick, threshold);
    std::vector<Decision> decisions(tick.size(), joint);
    for (size_t i = 0; i < tick.size(); ++i) {
      const bool entered = !previous_.contains(tick[i].info.chunk);
      if (tick[i].info.must_compute || entered) decisions[i] = {.action = Action::compute, .forced = true};
    }
    ++ticks_;
    remember(tick);
    return decisions;
  }

  void end_chunk(int64_t) override {}  // the next tick still compares with the chunk; remember() removes it
  void reset() override {
    accumulator_ = {};
    previous_.clear();
    ticks_ = 0;
  }
  uint64_t state_bytes() const override {
    uint64_t bytes = 0;
    for (const auto& [chunk, tokens] : previous_) bytes += tokens.bytes();
    return bytes;
  }

 private:
  // Fills `now` and `before` with the features to compare, pair by pair.
  void pairs(std::span<const ChunkStep> tick, std::vector<at::Tensor>& now,
             std::vector<at::Tensor>& before) const {
    if (!config_.by_position) {
      for (const ChunkStep& step : tick) {
        const auto found = previous_.find(step.info.chunk);
        if (found == previous_.end() || !found->second.comparable(step.features.tokens)) continue;
        now.push_back(step.features.tokens);
        before.push_back(found->second.value());
      }
      return;
    }
    // If there are more chunks now, the oldest are compared; if there are fewer, with the last ones of the
    // tick before.
    const size_t shared = std::min(tick.size(), previous_.size());
    auto old = std::next(previous_.begin(), static_cast<int64_t>(previous_.size() - shared));
    for (size_t i = 0; i < shared; ++i, ++old) {
      now.push_back(tick[i].features.tokens);
      before.push_back(old->second.value());
    }
  }

  Decision decide_window(std::span<const ChunkStep> tick, double threshold) {
    std::vector<at::Tensor> now, before;
    pairs(tick, now, before);
    if (ticks_ < config_.warmup || ticks_ == 0 || now.empty()) return accumulator_.force();
    const double change = relative_change(at::cat(now), at::cat(before));
    return accumulator_.add(evaluate(config_.polynomial, change), threshold);
  }

  void remember(std::span<const ChunkStep> tick) {
    std::erase_if(previous_, [&](const auto& one) {
      return std::none_of(tick.begin(), tick.end(),
                          [&](const ChunkStep& step) { return step.info.chunk == one.first; });
    });
    for (const ChunkStep& step : tick) previous_[step.info.chunk].keep(step.features.tokens);
  }

  TeaCacheJointConfig config_;
  Accumulator accumulator_;
  std::map<int64_t, KeptFeature> previous_;  // features of the tick before, oldest chunk first
  int64_t ticks_ = 0;
};

}  // namespace

namespace reuse {

PolicyEntry<ReusePolicy> teacache_joint() {
  return {
      .name = "teacache_joint",
      .summary = "one decision for all chunks in flight: the baseline of FlowCache's paper",
      .paper = "Timestep Embedding Tells: TeaCache, arXiv 2411.19108",
      .threshold = 0.2,
      .options = with_prediction({
          count_option("warmup", "first ticks of the stream, always computed", 5),
          {.name = "align",
           .help =
               "when chunks enter or leave: compare each with itself, or by position as in the paper's code",
           .words = {"chunk", "position"}},
          {.name = "polynomial", .help = "applied to the change", .words = polynomial_names()},
      }),
      .make = [](const Options& options) -> std::unique_ptr<ReusePolicy> {
        return predicted(std::make_unique<TeaCacheJoint>(
                             TeaCacheJointConfig{.warmup = options.integer("warmup"),
                                                 .by_position = options.word("align") == "position",
                                                 .polynomial = polynomial(options.word("polynomial"))}),
                         options);
      }};
}

}  // namespace reuse
}  // namespace flowcache
