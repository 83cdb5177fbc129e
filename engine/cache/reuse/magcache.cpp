// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/reuse/magcache.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "cache/reuse/predictor.h"
#include "cache/reuse/residual_option.h"
#include "cache/reuse/static_mask.h"

namespace flowcache {

std::vector<double> resample_curve(const std::vector<double>& curve, int steps) {
  if (static_cast<int>(curve.size()) == steps || curve.empty()) return curve;
  std::vector<double> own(steps, 1.0);
  for (int i = 0; i < steps; ++i) {
    const double at = static_cast<double>(i) * static_cast<double>(curve.size() - 1) / std::max(1, steps - 1);
    own[i] = curve[static_cast<size_t>(std::nearbyint(at))];
  }
  return own;
}

Decision MagCache::decide_one(const ChunkStep& step, double threshold) {
  const StepInfo& info = step.info;
  const bool begun = chunks_.contains(info.chunk);
  State& state = chunks_[info.chunk];
  if (static_cast<int>(curve_.size()) != info.places()) curve_ = resample_curve(curve_, info.places());
  const bool retained = info.step < static_cast<int>(info.steps * config_.retention);
  const bool forced =
      info.must_compute || retained || info.step >= info.steps - 1 || !begun || curve_.empty();
  if (!forced) {
    state.product *= curve_[info.place()];
    state.error += std::abs(1 - state.product);
    ++state.skipped;
    if (threshold > 0 && state.error < threshold && state.skipped <= config_.most_skipped)
      return {Action::reuse, false, std::abs(1 - state.product), state.error};
  }
  state.product = 1;
  state.error = 0;
  state.skipped = 0;
  return {.action = Action::compute, .forced = forced};
}

// Measures the curve. It is complete only if every step of a chunk was computed, in order.
void MagCache::computed(const ChunkStep& step, const at::Tensor& velocity) {
  if (!curve_.empty() || step.info.left_out > 0) return;
  State& state = chunks_[step.info.chunk];
  if (static_cast<int>(state.measured.size()) != step.info.step) return;
  double ratio = 1;
  if (state.velocity.comparable(velocity))
    ratio = (velocity.norm(2, 0) / state.velocity.value().norm(2, 0)).mean().item<double>();
  state.measured.push_back(std::isfinite(ratio) ? ratio : 1);
  state.velocity.keep(velocity);
  if (step.info.step == step.info.steps - 1) curve_ = state.measured;
}

void MagCache::end_chunk(int64_t chunk) {
  chunks_.erase(chunk);
}

void MagCache::reset() {
  chunks_.clear();
  curve_ = config_.curve;
}

uint64_t MagCache::state_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [chunk, state] : chunks_) bytes += state.velocity.bytes();
  return bytes;
}

namespace reuse {

PolicyEntry<ReusePolicy> magcache() {
  std::vector<std::string> curves = curve_names();
  curves.insert(curves.begin(), "measured");
  return {
      .name = "magcache",
      .summary =
          "reuse while the error, from the known ratios of the residual's size, adds up to less than ε",
      .paper = "MagCache, arXiv 2506.09045",
      .threshold = 0.12,
      .options = with_prediction({
          {.name = "curve",
           .help = "magnitude ratios: measured on the first chunk, or published ones",
           .words = curves},
          {.name = "curve_file", .help = "JSON array of magnitude ratios, instead of curve", .text = true},
          count_option("most_skipped", "K: largest number of reused steps in a row", 2),
          {.name = "retention",
           .help = "R: share of a chunk's steps, at its start, that are always computed",
           .value = 0.2,
           .min = 0,
           .max = 1},
          residual_option({"velocity", "token_residual"}),
      }),
      .make = [](const Options& options) -> std::unique_ptr<ReusePolicy> {
        MagCacheConfig config{.most_skipped = options.integer("most_skipped"),
                              .retention = options.number("retention"),
                              .residual = residual_of(options)};
        if (!options.word("curve_file").empty())
          config.curve = read_curve(options.word("curve_file"));
        else if (options.word("curve") != "measured")
          config.curve = curve(options.word("curve"));
        return predicted(std::make_unique<MagCache>(std::move(config)), options);
      }};
}

}  // namespace reuse
}  // namespace flowcache
