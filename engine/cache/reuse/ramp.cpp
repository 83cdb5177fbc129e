// SPDX-License-Identifier: LGPL-2.1-or-later
// This project's own policy: a fixed number of computed steps in a chunk, with gaps that grow from the first
// to the last. The velocity changes most at the start of a chunk. The first computed steps are also the ones
// that the others are extrapolated from.
#include "cache/reuse/ramp.h"

#include <algorithm>
#include <cmath>

#include "cache/reuse/predictor.h"
#include "cache/reuse/static_mask.h"

namespace flowcache {

bool Ramp::computes(const StepInfo& info) const {
  if (computed >= info.steps) return true;
  const int own_end = static_cast<int>(std::lround(info.steps * (8 - computed) / 14.0));
  const int wanted_end = end >= 0 ? end : std::max(1, own_end);
  const int left_out = info.last_is_history ? 0 : std::min(wanted_end, info.steps - computed);
  const int reach = info.steps - 1 - left_out;
  const auto on_curve = [&](int k) {
    const double along = static_cast<double>(k) / std::max(1, computed - 1);
    return static_cast<int>(std::lround(reach * std::pow(along, power)));
  };
  int place = -1, second = 0;
  for (int k = 0; k < computed && place < info.step; ++k) {
    const int before = place;
    place = std::max(place + 1, on_curve(k));
    if (k == 1 && computed > 2) second = place = std::max(place, (on_curve(2) + 2) / 3);
    const bool grows = power > 1 && second > 1;
    if (k == 2 && computed > 3 && grows) place = std::max(place, 2 * second + 1);
    if (k == 3 && computed > 4 && grows) place = std::max(place, 2 * before - second);
    place =
        std::min(place, std::max(before + 1, reach - (computed - 1 - k)));  // leaves room for the later ones
  }
  return place == info.step;
}

int Ramp::left(const StepInfo& done) const {
  int count = 0;
  for (StepInfo info = done; ++info.step < info.steps;) count += computes(info);
  return count;
}

std::vector<OptionSpec> with_ramp(std::vector<OptionSpec> options) {
  options.push_back({.name = "power",
                     .help = "1 spaces the computed steps evenly; a larger power moves them to the start",
                     .value = 1.5,
                     .min = 1,
                     .max = 4});
  options.push_back(
      count_option("end",
                   "reused steps after the last computed one; none if the last step becomes history; "
                   "-1: chosen by the number of computed steps, more if that is small",
                   -1, -1));
  return options;
}

Ramp ramp_of(const Options& options, int computed) {
  return {.computed = computed, .power = options.number("power"), .end = options.integer("end")};
}

namespace reuse {

PolicyEntry<ReusePolicy> ramp() {
  return {.name = "ramp",
          .summary =
              "a fixed number of computed steps in a chunk, close together at first and then further apart",
          .threshold = 1,
          .options = with_prediction(
              with_ramp({count_option("computed", "steps of a chunk that run the network", 7, 2)}),
              /*order=*/1, /*correct=*/1),
          .make = [](const Options& options) -> std::unique_ptr<ReusePolicy> {
            const Ramp ramp = ramp_of(options, options.integer("computed"));
            const auto mask = [ramp](const StepInfo& info) { return ramp.computes(info); };
            return predicted(std::make_unique<StaticMask>(mask, ReuseKind::velocity), options);
          }};
}

}  // namespace reuse
}  // namespace flowcache
