// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/reuse/static_mask.h"

#include "cache/reuse/predictor.h"
#include "cache/reuse/residual_option.h"

namespace flowcache {

Decision StaticMask::decide_one(const ChunkStep& step, double threshold) {
  const StepInfo& info = step.info;
  const bool first = begun_.insert(info.chunk).second;
  const bool compute = !(threshold > 0) || info.must_compute || first || info.step == 0 || mask_(info);
  return {.action = compute ? Action::compute : Action::reuse, .forced = compute};
}

StaticMask::Mask every_nth(int interval, int start) {
  return [interval, start](const StepInfo& info) {
    return info.step < start || (info.step - start) % interval == 0 || info.step == info.steps - 1;
  };
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

std::unique_ptr<ReusePolicy> make_interval(const Options& options) {
  auto mask = every_nth(options.integer("interval"), options.integer("start"));
  return predicted(std::make_unique<StaticMask>(std::move(mask), residual_of(options)), options);
}

}  // namespace flowcache
