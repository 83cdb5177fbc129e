// SPDX-License-Identifier: LGPL-2.1-or-later
// This project's own: a fixed number of computed steps a chunk, their gaps growing from the first to the
// last. Early on the velocity bends most, and the first computations also carry the extrapolation of the
// others.
#include "cache/reuse/ramp.h"

#include <algorithm>
#include <cmath>

#include "cache/reuse/predictor.h"
#include "cache/reuse/static_mask.h"

namespace flowcache {

bool on_ramp(int step, int steps, int computed, double power) {
  if (computed >= steps) return true;
  for (int k = 0; k < computed; ++k) {
    const double along = static_cast<double>(k) / std::max(1, computed - 1);
    if (std::lround((steps - 1) * std::pow(along, power)) == step) return true;
  }
  return false;
}

OptionSpec power_option() {
  return {.name = "power",
          .help = "1 spaces them evenly, more crowds them at the start",
          .value = 1.5,
          .min = 1,
          .max = 4};
}

namespace reuse {

PolicyEntry<ReusePolicy> ramp() {
  return {
      .name = "ramp",
      .summary = "a fixed number of computed steps a chunk, close together at first and then further apart",
      .threshold = 1,
      .options = with_prediction(
          {
              count_option("computed", "steps of a chunk that run the network", 7, 2),
              power_option(),
          },
          /*order=*/1, /*correct=*/1),
      .make = [](const Options& options) -> std::unique_ptr<ReusePolicy> {
        const auto mask = [computed = options.integer("computed"), power = options.number("power")](
                              int step, int steps) { return on_ramp(step, steps, computed, power); };
        return predicted(std::make_unique<StaticMask>(mask, ReuseKind::velocity), options);
      }};
}

}  // namespace reuse
}  // namespace flowcache
