// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/reuse/easycache.h"

#include <algorithm>
#include <cmath>

#include "cache/reuse/predictor.h"
#include "cache/reuse/residual_option.h"
#include "cache/reuse/static_mask.h"

namespace flowcache {
namespace {

double mean_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().mean().item<double>();
}

}  // namespace

Decision EasyCache::decide_one(const ChunkStep& step, double threshold) {
  const StepInfo& info = step.info;
  State& state = chunks_[info.chunk];
  const int warmup =
      config_.warmup > 0 ? config_.warmup : std::max(2, static_cast<int>(std::ceil(0.2 * info.steps)));
  const bool forced = info.must_compute || info.step < warmup || info.step >= info.steps - 1 ||
                      state.rate < 0 || !state.previous.comparable(step.features.latent);
  Decision decision;
  if (forced) {
    decision = state.accumulator.force();
  } else {
    const double moved = mean_difference(step.features.latent, state.previous.value());
    decision = state.accumulator.add(state.rate * moved / state.output_magnitude, threshold);
  }
  state.previous.keep(step.features.latent);
  return decision;
}

void EasyCache::computed(const ChunkStep& step, const at::Tensor& velocity) {
  State& state = chunks_[step.info.chunk];
  const at::Tensor& latent = step.features.latent;
  if (state.output.comparable(velocity) && state.input.comparable(latent))
    state.rate =
        mean_difference(velocity, state.output.value()) / mean_difference(latent, state.input.value());
  state.input.keep(latent);
  state.output.keep(velocity);
  state.output_magnitude = velocity.abs().mean().item<double>();
}

uint64_t EasyCache::state_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [chunk, state] : chunks_)
    bytes += state.previous.bytes() + state.input.bytes() + state.output.bytes();
  return bytes;
}

namespace reuse {

PolicyEntry<ReusePolicy> easycache() {
  return {.name = "easycache",
          .summary = "reuse while the change of the latent predicts a small change of the output",
          .paper = "EasyCache, arXiv 2507.02860",
          .threshold = 0.05,
          .options = with_prediction({
              count_option("warmup", "first steps of a chunk, always computed; 0: a fifth of them", 0),
              residual_option({"output_delta", "velocity"}),
          }),
          .make = [](const Options& options) -> std::unique_ptr<ReusePolicy> {
            return predicted(std::make_unique<EasyCache>(EasyCacheConfig{.warmup = options.integer("warmup"),
                                                                         .residual = residual_of(options)}),
                             options);
          }};
}

}  // namespace reuse
}  // namespace flowcache
