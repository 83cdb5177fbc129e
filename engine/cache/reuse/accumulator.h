// SPDX-License-Identifier: LGPL-2.1-or-later
// The state machine that FlowCache, TeaCache and EasyCache share: distances add up from one computed step to
// the next, and the sum must stay below ε for a step to be reused.
#pragma once

#include <cmath>

#include "cache/reuse/reuse_policy.h"

namespace flowcache {

// What to do with a distance that is negative or not finite (rule R6).
enum class UnsafeDistance {
  compute,  // safe: the step is computed
  parity,   // raw arithmetic as in the references, where a negative distance lowers the sum; for comparisons
            // only
};

class Accumulator {
 public:
  // A rule demands the computation: the sum starts again.
  Decision force() {
    sum_ = 0;
    return {.action = Action::compute, .forced = true};
  }

  // `<` is strict, so ε = 0 never reuses; a NaN ε never does either.
  Decision add(double distance, double threshold, UnsafeDistance unsafe = UnsafeDistance::compute) {
    if (unsafe == UnsafeDistance::compute && !(std::isfinite(distance) && distance >= 0)) {
      sum_ = 0;
      return {.action = Action::compute, .forced = true, .distance = distance};
    }
    const double sum = sum_ + distance;
    const bool reuse = threshold > 0 && sum < threshold;
    sum_ = reuse ? sum : 0;
    return {reuse ? Action::reuse : Action::compute, false, distance, sum_};
  }

 private:
  double sum_ = 0;
};

}  // namespace flowcache
