// SPDX-License-Identifier: LGPL-2.1-or-later
// LightCache's speed part (arXiv 2510.05367): every n-th step is computed. Its memory part is no policy:
// blocks work on slices of a chunk's tokens (Transformer::slice_tokens()), and a chunk is decoded in pieces,
// as networks/decoders/decoder.h says. What it keeps stays on the device: it is not moved to the host in
// between.
#include "cache/reuse/predictor.h"
#include "cache/reuse/static_mask.h"

namespace flowcache {
namespace {

std::unique_ptr<ReusePolicy> make(const Options& options) {
  const int interval = options.integer("interval"), start = options.integer("start");
  const auto mask = [interval, start](const StepInfo& info) {
    return info.step < start || (info.step - start) % interval == 0 || info.step == info.steps - 1;
  };
  return predicted(std::make_unique<StaticMask>(mask, reuse_kind(options.word("residual"))), options);
}

std::vector<OptionSpec> interval_options(int interval, int start, int order) {
  return with_prediction(
      {
          count_option("interval", "steps from one computation to the next", interval, 1, 100),
          count_option("start", "steps computed before the first is reused", start),
          residual_option(),
      },
      order);
}

}  // namespace

namespace reuse {

PolicyEntry<ReusePolicy> interval() {
  return {.name = "interval",
          .summary = "every n-th step of a chunk is computed",
          .paper = "LightCache, arXiv 2510.05367",
          .threshold = 1,
          .options = interval_options(2, 0, 0),
          .make = make};
}

PolicyEntry<ReusePolicy> taylorseer() {
  return {.name = "taylorseer",
          .summary = "every n-th step is computed, the others are extrapolated from those before",
          .paper = "From Reusing to Forecasting: TaylorSeer, arXiv 2503.06923",
          .threshold = 1,
          .options = interval_options(4, 3, 1),
          .make = make};
}

}  // namespace reuse
}  // namespace flowcache
