// SPDX-License-Identifier: LGPL-2.1-or-later
// FasterCache's dynamic feature reuse (arXiv 2410.19355). A skipped step does not compute self-attention.
// Instead each block uses F = Fl + w (Fl - Fp), where Fl and Fp are its attention outputs at the last
// computed step and at the one before. Attention over the text and the feed-forward part still run. In the
// paper the first quarter to third of the steps is computed, then every second step is skipped, and w grows
// from 0 to 1 until the end. The other half of the paper is the guidance policy cfg_cache:
// "attention+cfg_cache".
#include <algorithm>
#include <cmath>
#include <map>

#include "cache/reuse/static_mask.h"

namespace flowcache {
namespace {

struct AttentionConfig {
  double start = 0.25;
  int interval = 2;
  double weight = 1;
  bool grows = true;

  int first_skipped(int steps) const { return std::max(1, static_cast<int>(std::ceil(start * steps))); }
  bool computes(const StepInfo& info) const {
    const int since = info.step - first_skipped(info.steps);
    return since < 0 || (since + 1) % interval == 0 || info.step == info.steps - 1;
  }
  double weight_at(const StepInfo& info) const {
    if (!grows) return weight;
    const int first = first_skipped(info.steps), last = info.steps - 1;
    return weight * (info.step - first) / std::max(1, last - first);
  }
};

class AttentionReuse final : public StaticMask {
 public:
  explicit AttentionReuse(const AttentionConfig& config)
      : StaticMask([config](const StepInfo& info) { return config.computes(info); },
                   ReuseKind::attention_output),
        config_(config) {}

  int residuals_kept() const override { return config_.weight == 0 ? 1 : 2; }
  std::vector<double> prediction(const StepInfo& info) const override {
    const auto known = computed_.find(info.chunk);
    const double w = config_.weight_at(info);
    if (w == 0 || known == computed_.end() || known->second < 2) return {1.0};
    return {1 + w, -w};
  }
  void computed(const ChunkStep& step, const at::Tensor&) override { ++computed_[step.info.chunk]; }
  void residuals_dropped(int64_t chunk) override {
    StaticMask::residuals_dropped(chunk);
    computed_.erase(chunk);
  }
  void end_chunk(int64_t chunk) override {
    StaticMask::end_chunk(chunk);
    computed_.erase(chunk);
  }
  void reset() override {
    StaticMask::reset();
    computed_.clear();
  }

 private:
  AttentionConfig config_;
  std::map<int64_t, int> computed_;  // for each chunk, how many computed steps have left their outputs
};

}  // namespace

namespace reuse {

PolicyEntry<ReusePolicy> attention() {
  const AttentionConfig d;
  return {
      .name = "attention",
      .summary =
          "self-attention of skipped steps is extrapolated from the last two computed steps; the rest of "
          "each block runs",
      .paper = "FasterCache, arXiv 2410.19355",
      .threshold = 1,
      .options = {{.name = "start",
                   .help = "share of a chunk's steps before the first skipped one",
                   .value = d.start,
                   .min = 0,
                   .max = 1},
                  count_option("interval", "after that, every n-th step is computed; 1: all steps",
                               d.interval, 1, 100),
                  {.name = "weight",
                   .help = "largest w of the extrapolation; 0 applies the newest outputs unchanged",
                   .value = d.weight,
                   .min = 0,
                   .max = 2},
                  {.name = "growth",
                   .help =
                       "w grows from 0 at the first skipped step (linear), or is the same for all (constant)",
                   .words = {"linear", "constant"}}},
      .make = [](const Options& options) -> std::unique_ptr<ReusePolicy> {
        return std::make_unique<AttentionReuse>(AttentionConfig{.start = options.number("start"),
                                                                .interval = options.integer("interval"),
                                                                .weight = options.number("weight"),
                                                                .grows = options.word("growth") == "linear"});
      }};
}

}  // namespace reuse
}  // namespace flowcache
