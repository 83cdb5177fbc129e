// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/threshold_governor.h"

#include <algorithm>

namespace flowcache {

namespace {

constexpr int patience = 3;      // chunks
constexpr double ease = 0.85;    // of ε, when there is time for more
constexpr double largest = 4.0;  // factor at once

}  // namespace

// The governor begins in the middle: until it has measured, ε stays about where it is.
ThresholdGovernor::ThresholdGovernor(double threshold, int steps)
    : governor_(1, steps, steps / 2), first_(threshold), threshold_(threshold) {}

void ThresholdGovernor::reset() {
  governor_.restart();
  threshold_ = first_;
  calm_ = 0;
}

void ThresholdGovernor::observe(double step_seconds, double other_seconds, int computed) {
  governor_.observe(step_seconds, other_seconds);
  const int allowed = governor_.allowed();
  if (computed > allowed) {
    // The computed steps fall about with the root of ε.
    const double ratio = static_cast<double>(computed) / allowed;
    threshold_ *= std::min(largest, ratio * ratio);
    calm_ = 0;
  } else if (computed < allowed - 1) {
    if (++calm_ >= patience) {
      threshold_ *= ease;
      calm_ = 0;
    }
  } else {
    calm_ = 0;
  }
  threshold_ = std::clamp(threshold_, first_ / range, first_ * range);
}

}  // namespace flowcache
