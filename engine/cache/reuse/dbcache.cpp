// SPDX-License-Identifier: LGPL-2.1-or-later
// First-block cache and its generalisation DBCache (cache-dit). The first blocks run on every step. If they
// change the tokens as they did at the last computed step, the blocks after them are not run, and their
// residual is applied again. On a reused step those layers keep the keys and values of the last computed
// step.
#include <cmath>
#include <map>

#include "cache/reuse/distance.h"
#include "cache/reuse/predictor.h"

namespace flowcache {
namespace {

struct FirstBlockConfig {
  int first = 1, last = 0;
  int warmup = 2;
  int most_in_a_row = 0, most = 0;  // limits for reused steps; 0: no limit
};

class FirstBlock final : public PerChunkPolicy {
 public:
  explicit FirstBlock(const FirstBlockConfig& config) : config_(config) {}
  Tap taps() const override { return Tap::first_blocks; }
  ReuseKind kind() const override { return ReuseKind::tail_residual; }
  int first_blocks() const override { return config_.first; }
  int last_blocks() const override { return config_.last; }

  void end_chunk(int64_t chunk) override { chunks_.erase(chunk); }
  void reset() override { chunks_.clear(); }
  uint64_t state_bytes() const override {
    uint64_t bytes = 0;
    for (const auto& [chunk, state] : chunks_) bytes += state.computed.bytes();
    return bytes;
  }

 private:
  struct State {
    KeptFeature computed;  // what the first blocks changed at the last computed step; a reused step keeps it
    int in_a_row = 0, total = 0;
  };

  Decision decide_one(const ChunkStep& step, double threshold) override {
    const StepInfo& info = step.info;
    State& state = chunks_[info.chunk];
    const at::Tensor& change = step.features.first_blocks;
    const bool limit_reached = (config_.most_in_a_row > 0 && state.in_a_row >= config_.most_in_a_row) ||
                               (config_.most > 0 && state.total >= config_.most);
    Decision decision{.action = Action::compute, .forced = true};
    if (!info.must_compute && info.step >= config_.warmup && info.step < info.steps - 1 && !limit_reached &&
        state.computed.comparable(change)) {
      const double distance = relative_change(change, state.computed.value());
      const bool safe = std::isfinite(distance) && distance >= 0;
      decision = {.action = safe && distance < threshold ? Action::reuse : Action::compute,
                  .forced = !safe,
                  .distance = distance,
                  .accumulated = distance};
    }
    if (decision.action == Action::reuse) {
      ++state.in_a_row;
      ++state.total;
    } else {
      state.in_a_row = 0;
      state.computed.keep(change);
    }
    return decision;
  }

  FirstBlockConfig config_;
  std::map<int64_t, State> chunks_;
};

}  // namespace

namespace reuse {

PolicyEntry<ReusePolicy> dbcache() {
  return {.name = "dbcache",
          .summary =
              "the first blocks always run; the rest is reused while they change the tokens alike "
              "(first_blocks=1: first-block cache)",
          .paper = "DBCache, cache-dit; first-block cache, ParaAttention",
          .threshold = 0.12,
          .options = with_prediction({
              count_option("first_blocks", "Fn: blocks that run on every step before the decision", 1, 1),
              count_option("last_blocks", "Bn: blocks that run on every step after the reused part", 0),
              count_option("warmup", "steps of a chunk computed before any is reused", 2),
              count_option("most_in_a_row", "largest number of reused steps in a row; 0: no limit", 3),
              count_option("most", "largest number of reused steps of a chunk; 0: no limit", 0),
          }),
          .make = [](const Options& options) -> std::unique_ptr<ReusePolicy> {
            return predicted(std::make_unique<FirstBlock>(
                                 FirstBlockConfig{.first = options.integer("first_blocks"),
                                                  .last = options.integer("last_blocks"),
                                                  .warmup = options.integer("warmup"),
                                                  .most_in_a_row = options.integer("most_in_a_row"),
                                                  .most = options.integer("most")}),
                             options);
          }};
}

}  // namespace reuse
}  // namespace flowcache
