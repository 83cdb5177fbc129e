// SPDX-License-Identifier: LGPL-2.1-or-later
// The accumulator that FlowCache, TeaCache and EasyCache share. It adds up the distances of the steps since
// the last computed one. A step is reused while the sum stays below ε.
#pragma once

#include <cmath>

#include "cache/reuse/reuse_policy.h"

namespace flowcache {

// What to do with a distance that is negative or not finite (rule R6).
enum class UnsafeDistance {
  compute,  // compute the step
  parity,   // add it as the references do, where a negative distance lowers the sum; only for comparisons
};

class Accumulator {
 public:
  // A rule demands that the step is computed. The sum starts again at 0.
  Decision force() {
    sum_ = 0;
    return {.action = Action::compute, .forced = true};
  }

  // Adds a distance and decides. The comparison with ε is strict, so ε = 0 never reuses; nor does a NaN.
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
