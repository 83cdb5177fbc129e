// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/reuse/flowcache.h"

#include "cache/reuse/polynomial.h"
#include "cache/reuse/predictor.h"
#include "cache/reuse/residual_option.h"

namespace flowcache {

Decision FlowCacheReuse::decide_one(const ChunkStep& step, double threshold) {
  const StepInfo& info = step.info;
  State& state = chunks_[info.chunk];
  const at::Tensor& feature =
      config_.feature == Tap::modulation ? step.features.modulation : step.features.tokens;
  const bool last = config_.protect_last && info.step >= info.steps - 1;
  const bool forced =
      info.must_compute || info.step < config_.warmup || last || !state.previous.comparable(feature);

  Decision decision;
  if (forced) {
    decision = state.accumulator.force();
  } else {
    const double change = relative_change(feature, state.previous.value(), config_.metric);
    decision = state.accumulator.add(evaluate(config_.polynomial, change), threshold, config_.unsafe);
  }
  state.previous.keep(feature);
  return decision;
}

uint64_t FlowCacheReuse::state_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [chunk, state] : chunks_) bytes += state.previous.bytes();
  return bytes;
}

namespace reuse {

PolicyEntry<ReusePolicy> flowcache() {
  return {
      .name = "flowcache",
      .summary =
          "every chunk in flight decides for itself: reuse while the sum of changes since its last computed "
          "step is below ε",
      .paper = "FlowCache: Caching for autoregressive video diffusion, arXiv 2602.10825",
      .threshold = 0.2,
      .options = with_prediction({
          count_option("warmup", "steps of a chunk computed before any is reused", 3),
          {.name = "feature",
           .help = "what is compared: embedded latent, or timestep modulation",
           .words = {"tokens", "modulation"}},
          {.name = "residual",
           .help = "what is applied again",
           .words = {"velocity", "latent_increment", "token_residual"}},
          {.name = "metric", .help = "precision of the distance", .words = {"fp32", "bf16"}, .parity = true},
          switch_option("protect_last", "1: the last step of each chunk is always computed", true),
          {.name = "polynomial",
           .help = "TeaCache polynomial applied to the distance",
           .words = polynomial_names()},
          {.name = "unsafe",
           .help = "negative or infinite distance: compute, or reuse as the reference code does",
           .words = {"compute", "parity"},
           .parity = true},
      }),
      .make = [](const Options& options) -> std::unique_ptr<ReusePolicy> {
        FlowCacheConfig config{
            .warmup = options.integer("warmup"),
            .feature = options.word("feature") == "modulation" ? Tap::modulation : Tap::tokens,
            .residual = residual_of(options),
            .metric = options.word("metric") == "bf16" ? Metric::bf16 : Metric::fp32,
            .protect_last = options.flag("protect_last"),
            .polynomial = polynomial(options.word("polynomial")),
            .unsafe = options.word("unsafe") == "parity" ? UnsafeDistance::parity : UnsafeDistance::compute,
        };
        return predicted(std::make_unique<FlowCacheReuse>(std::move(config)), options);
      },
  };
}

}  // namespace reuse
}  // namespace flowcache
