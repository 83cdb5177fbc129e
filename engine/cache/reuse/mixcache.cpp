// SPDX-License-Identifier: LGPL-2.1-or-later
// Reuse in the manner of MixCache (arXiv 2508.12691). This is a reconstruction: neither code nor tables are
// published. A reused step is of one of two kinds: the whole step (its velocity is applied again), or the
// blocks after the first one (their residual is applied again). The policy takes the kind for which change
// times impact is smaller; the value of the kind that was taken last is multiplied by five. The distance
// between fully computed steps grows and shrinks with the change of the velocity at the last one. The paper's
// third kind, guidance, is a guidance policy here: "mixcache+cfg_cache".
#include <algorithm>
#include <cmath>
#include <map>

#include "cache/registry.h"
#include "cache/reuse/distance.h"

namespace flowcache {
namespace {

struct MixConfig {
  int warmup = 0, longest = 4;
  double block_impact = 0.3, repeat_penalty = 5;
  // Below `calm`, a change of the velocity makes the interval longer; above `rough`, it makes the interval
  // shorter.
  double calm = 0.05, rough = 0.15;
};

class MixCache final : public PerChunkPolicy {
 public:
  explicit MixCache(const MixConfig& config) : config_(config) {}
  Tap taps() const override { return Tap::latent | Tap::first_blocks | Tap::velocity; }
  ReuseKind kind() const override { return ReuseKind::velocity; }
  int first_blocks() const override { return 1; }
  bool keeps_tail() const override { return true; }

  void computed(const ChunkStep& step, const at::Tensor& velocity) override {
    State& state = chunks_[step.info.chunk];
    if (state.velocity.comparable(velocity)) {
      const double change = relative_change(velocity, state.velocity.value());
      state.interval += (change < config_.calm) - !(change <= config_.rough);
      state.interval = std::clamp(state.interval, 1, config_.longest);
    }
    state.velocity.keep(velocity);
  }

  void end_chunk(int64_t chunk) override { chunks_.erase(chunk); }
  void reset() override { chunks_.clear(); }
  uint64_t state_bytes() const override {
    uint64_t bytes = 0;
    for (const auto& [chunk, state] : chunks_)
      bytes += state.latent.bytes() + state.blocks.bytes() + state.velocity.bytes();
    return bytes;
  }

 private:
  enum class Taken { full, step, block };
  struct State {
    KeptFeature latent;            // latent of the step before
    KeptFeature blocks, velocity;  // features of the last fully computed step
    int interval = 1;              // number of reused steps allowed between two fully computed ones
    int since_full = 0;
    Taken last = Taken::full;
  };

  Decision decide_one(const ChunkStep& step, double threshold) override {
    const StepInfo& info = step.info;
    State& state = chunks_[info.chunk];
    const at::Tensor &latent = step.features.latent, &blocks = step.features.first_blocks;
    const int warmup = config_.warmup > 0 ? config_.warmup : static_cast<int>(std::ceil(0.2 * info.steps));
    Decision decision{.action = Action::compute, .forced = true};
    if (!info.must_compute && info.step >= warmup && info.step < info.steps - 1 &&
        state.since_full < state.interval && state.latent.comparable(latent) &&
        state.blocks.comparable(blocks)) {
      const double whole = relative_change(latent, state.latent.value());
      const double tail = config_.block_impact * relative_change(blocks, state.blocks.value());
      const double least = std::min(whole, tail);
      const bool safe = std::isfinite(whole) && std::isfinite(tail) && least >= 0;
      const auto with_penalty = [&](double change, Taken kind) {
        return state.last == kind ? change * config_.repeat_penalty : change;
      };
      decision = {.action = safe && least < threshold ? Action::reuse : Action::compute,
                  .forced = !safe,
                  .distance = least,
                  .accumulated = least};
      decision.tail = with_penalty(tail, Taken::block) < with_penalty(whole, Taken::step);
    }
    const bool reuse = decision.action == Action::reuse;
    state.last = !reuse ? Taken::full : decision.tail ? Taken::block : Taken::step;
    state.since_full = reuse ? state.since_full + 1 : 0;
    if (!reuse) state.blocks.keep(blocks);
    state.latent.keep(latent);
    return decision;
  }

  MixConfig config_;
  std::map<int64_t, State> chunks_;
};

OptionSpec number_option(std::string name, std::string help, double value, double max) {
  return {.name = std::move(name), .help = std::move(help), .value = value, .min = 0, .max = max};
}

}  // namespace

namespace reuse {

PolicyEntry<ReusePolicy> mixcache() {
  const MixConfig d;
  return {.name = "mixcache",
          .summary =
              "reuses whole steps, or the blocks after the first, whichever changes less (a reconstruction)",
          .paper = "MixCache, arXiv 2508.12691",
          .threshold = 0.15,
          .options =
              {count_option("warmup", "first steps of a chunk, always computed; 0: a fifth of them", 0),
               count_option("longest", "largest number of reused steps in a row", 4, 1),
               number_option("block_impact", "factor of the first block's change, beside the latent's change",
                             d.block_impact, 100),
               number_option("repeat_penalty", "factor of the change for the kind that was taken last",
                             d.repeat_penalty, 100),
               number_option("calm", "change of the velocity below which more steps may be reused in a row",
                             d.calm, 10),
               number_option("rough", "change of the velocity above which fewer steps may be reused", d.rough,
                             10)},
          .make = [](const Options& options) -> std::unique_ptr<ReusePolicy> {
            return std::make_unique<MixCache>(MixConfig{.warmup = options.integer("warmup"),
                                                        .longest = options.integer("longest"),
                                                        .block_impact = options.number("block_impact"),
                                                        .repeat_penalty = options.number("repeat_penalty"),
                                                        .calm = options.number("calm"),
                                                        .rough = options.number("rough")});
          }};
}

}  // namespace reuse
}  // namespace flowcache
