// SPDX-License-Identifier: LGPL-2.1-or-later
// TeaCache (arXiv 2411.19108), with a decision for each chunk: FlowCache's accumulator over the timestep
// modulation and a polynomial, and TeaCache's two ways to choose the steps that are always computed. The
// paper's single decision for everything is teacache_joint.
#include "cache/reuse/flowcache.h"
#include "cache/reuse/polynomial.h"
#include "cache/reuse/predictor.h"
#include "cache/reuse/residual_option.h"

namespace flowcache::reuse {

PolicyEntry<ReusePolicy> teacache() {
  return {
      .name = "teacache",
      .summary = "reuse while the polynomial of the timestep modulation's change adds up to less than ε",
      .paper = "Timestep Embedding Tells: TeaCache, arXiv 2411.19108",
      .threshold = 0.2,
      .options = with_prediction({
          {.name = "ends",
           .help = "steps always computed: the first and the last (default), or the first five (ret)",
           .words = {"default", "ret"}},
          {.name = "feature", .help = "what is compared", .words = {"modulation", "tokens"}},
          {.name = "polynomial", .help = "applied to the change", .words = polynomial_names()},
          {.name = "residual", .help = "what is applied again", .words = {"token_residual", "velocity"}},
          {.name = "unsafe",
           .help = "negative or infinite distance: compute, or reuse as the original code does",
           .words = {"compute", "parity"},
           .parity = true},
      }),
      .make = [](const Options& options) -> std::unique_ptr<ReusePolicy> {
        const bool ret = options.word("ends") == "ret";
        FlowCacheConfig config{
            .warmup = ret ? 5 : 1,
            .feature = options.word("feature") == "tokens" ? Tap::tokens : Tap::modulation,
            .residual = residual_of(options),
            .protect_last = !ret,
            .polynomial = polynomial(options.word("polynomial")),
            .unsafe = options.word("unsafe") == "parity" ? UnsafeDistance::parity : UnsafeDistance::compute};
        return predicted(std::make_unique<FlowCacheReuse>(std::move(config)), options);
      }};
}

}  // namespace flowcache::reuse
