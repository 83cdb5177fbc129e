// SPDX-License-Identifier: LGPL-2.1-or-later
// Deadline -> ε of a policy that decides by distances. What is steered is still the number of computed steps:
// the governor says how many the time allows, and ε goes where the policy computes about so many.
#pragma once

#include "stream/governor.h"

namespace flowcache {

class ThresholdGovernor {
 public:
  // threshold: ε to begin with, > 0; it stays within a factor of `range` of it. steps: of a chunk.
  ThresholdGovernor(double threshold, int steps);

  void deadline(double seconds) { governor_.deadline(seconds); }
  // ε from now on.
  double threshold() const { return threshold_; }
  // As Governor::observe(); computed: steps of the finished chunk that ran the network. ε rises at once where
  // the chunk computed more than the time allows, and falls only after several chunks that computed clearly
  // less.
  void observe(double step_seconds, double other_seconds, int computed);
  // A new stream begins: back to the first ε, and forget what was measured.
  void reset();

  static constexpr double range = 16;

 private:
  Governor governor_;
  double first_, threshold_;
  int calm_ = 0;  // chunks in a row that computed fewer steps than there is time for
};

}  // namespace flowcache
