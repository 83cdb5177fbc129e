// SPDX-License-Identifier: LGPL-2.1-or-later
// Reuse across chunks, after X-Cache (arXiv 2604.20289; no code published). A step of a chunk reuses what the
// same step of an earlier chunk computed in the blocks after the first ones. This is the only policy that
// helps models with few steps, because their neighbouring steps differ too much. A step is reused only if two
// measures of what the first blocks changed both say that the two chunks are alike: the relative L1 distance,
// and the angle. The pass that writes history is always computed.
#include <cmath>
#include <vector>

#include "cache/registry.h"
#include "cache/reuse/distance.h"

namespace flowcache {
namespace {

class XChunk final : public PerChunkPolicy {
 public:
  XChunk(int first_blocks, double angle, int most_in_a_row)
      : first_(first_blocks), angle_(angle), most_in_a_row_(most_in_a_row) {}
  Tap taps() const override { return Tap::first_blocks; }
  ReuseKind kind() const override { return ReuseKind::tail_residual; }
  int first_blocks() const override { return first_; }
  bool across_chunks() const override { return true; }

  // The stream has dropped what earlier chunks computed under other conditions, so nothing can be compared
  // with it.
  void residuals_dropped(int64_t) override { reset(); }
  void context_changed(int64_t) override {}
  bool recompute_on_context_change() const override { return false; }  // the history changes with every chunk
  void end_chunk(int64_t) override {}
  void reset() override { steps_.clear(); }
  uint64_t state_bytes() const override {
    uint64_t bytes = 0;
    for (const Step& step : steps_) bytes += step.computed.bytes();
    return bytes;
  }

 private:
  struct Step {
    KeptFeature computed;  // what the first blocks changed when this step was last computed
    int in_a_row = 0;      // number of chunks that have reused this step since then
  };

  Decision decide_one(const ChunkStep& step, double threshold) override {
    if (static_cast<int>(steps_.size()) != step.info.places()) steps_.resize(step.info.places());
    Step& state = steps_[step.info.place()];
    const at::Tensor& change = step.features.first_blocks;
    Decision decision{.action = Action::compute, .forced = true};
    const bool limit_reached = most_in_a_row_ > 0 && state.in_a_row >= most_in_a_row_;
    if (!step.info.must_compute && !limit_reached && state.computed.comparable(change)) {
      const at::Tensor& before = state.computed.value();
      const double distance = relative_change(change, before);
      const double cosine =
          at::cosine_similarity(change.flatten().to(at::kFloat), before.flatten().to(at::kFloat), 0)
              .item<double>();
      const bool safe = std::isfinite(distance) && distance >= 0 && std::isfinite(cosine);
      const bool alike = safe && distance < threshold && 1 - cosine < angle_;
      decision = {alike ? Action::reuse : Action::compute, !safe, distance, distance};
    }
    if (decision.action == Action::reuse) {
      ++state.in_a_row;
    } else {
      state.in_a_row = 0;
      state.computed.keep(change);
    }
    return decision;
  }

  int first_;
  double angle_;
  int most_in_a_row_;
  std::vector<Step> steps_;
};

}  // namespace

namespace reuse {

PolicyEntry<ReusePolicy> xchunk() {
  return {
      .name = "xchunk",
      .summary =
          "a step reuses what the same step of an earlier chunk computed, while the two chunks are alike; "
          "for few-step models",
      .paper = "X-Cache, arXiv 2604.20289",
      .threshold = 0.3,
      .options = {count_option("first_blocks",
                               "blocks that run on every step and tell how alike two chunks are", 1, 1),
                  {.name = "angle", .help = "1 - cosine at most", .value = 0.1, .min = 0, .max = 2},
                  count_option("most_in_a_row", "chunks in a row that may reuse a step; 0: no limit", 2)},
      .make = [](const Options& options) -> std::unique_ptr<ReusePolicy> {
        return std::make_unique<XChunk>(options.integer("first_blocks"), options.number("angle"),
                                        options.integer("most_in_a_row"));
      }};
}

}  // namespace reuse
}  // namespace flowcache
