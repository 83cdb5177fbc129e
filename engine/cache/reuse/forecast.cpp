// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/reuse/forecast.h"

#include <algorithm>
#include <cmath>

#include "cache/reuse/predictor.h"

namespace flowcache {

Decision Forecast::decide_one(const ChunkStep& step, double threshold) {
  const StepInfo& info = step.info;
  State& state = chunks_[info.chunk];
  const bool limit_reached = config_.most_skipped > 0 && state.skipped >= config_.most_skipped;
  const bool learned = config_.learn_start && start_curvature_ != unknown;
  const int warmup = learned ? std::min(1, config_.warmup) : config_.warmup;
  const double error = predicted_error(state, info);
  const bool forced = info.must_compute || info.step < warmup || info.step >= info.steps - 1 ||
                      state.known == 0 || error == unknown || limit_reached;
  const Decision decision =
      forced ? state.accumulator.force()
             : state.accumulator.add(error * std::abs(info.sigma_next - info.sigma), threshold);
  state.skipped = decision.action == Action::reuse ? state.skipped + 1 : 0;
  return decision;
}

double Forecast::predicted_error(const State& state, const StepInfo& info) const {
  double curvature = state.curvature;
  if (curvature == unknown && config_.learn_start) curvature = start_curvature_;
  if (curvature == unknown) return unknown;
  const double stride = std::abs(info.sigma - state.newest);
  // After a single computed step, the error is as if another one lay as far behind it as this step lies
  // ahead.
  const double longer = state.known >= 2 ? std::abs(info.sigma - state.older) : 2 * stride;
  return curvature * stride * longer;
}

void Forecast::computed(const ChunkStep& step, const at::Tensor& velocity) {
  State& state = chunks_[step.info.chunk];
  const double sigma = step.info.sigma;
  if (state.known >= 2 && state.velocity.comparable(velocity)) {
    const double along = (sigma - state.newest) / (state.newest - state.older);
    const at::Tensor& newest = state.velocity.value();
    const at::Tensor predicted = newest + along * (newest - state.older_velocity.value());
    const double error = relative_change(predicted, velocity);
    const double curvature = error / std::abs((sigma - state.newest) * (sigma - state.older));
    if (state.curvature == unknown && std::isfinite(curvature)) start_curvature_ = curvature;
    // The curvature falls by half at most, so that one error that happens to be small does not allow many
    // reused steps.
    state.curvature = std::isfinite(curvature) ? std::max(curvature, 0.5 * state.curvature) : unknown;
  }
  std::swap(state.velocity, state.older_velocity);
  state.velocity.keep(velocity);
  state.older = state.newest;
  state.newest = sigma;
  ++state.known;
}

uint64_t Forecast::state_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [chunk, state] : chunks_) bytes += state.velocity.bytes() + state.older_velocity.bytes();
  return bytes;
}

namespace reuse {

PolicyEntry<ReusePolicy> forecast() {
  return {
      .name = "forecast",
      .summary =
          "velocities are extrapolated and later repaired; reuse while the error, predicted from that of the "
          "last extrapolation, stays below ε",
      .threshold = 0.02,
      .options = with_prediction(
          {
              count_option("warmup", "first steps of the first chunk, always computed", 3),
              switch_option("learn_start",
                            "1: later chunks start with the curvature that an earlier chunk measured", true),
              count_option("most_skipped", "largest number of reused steps in a row; 0: no limit", 0),
          },
          /*order=*/1, /*correct=*/1),
      .make = [](const Options& options) -> std::unique_ptr<ReusePolicy> {
        return predicted(
            std::make_unique<Forecast>(ForecastConfig{.warmup = options.integer("warmup"),
                                                      .learn_start = options.flag("learn_start"),
                                                      .most_skipped = options.integer("most_skipped")}),
            options);
      }};
}

}  // namespace reuse
}  // namespace flowcache
