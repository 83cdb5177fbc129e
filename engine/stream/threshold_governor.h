// SPDX-License-Identifier: LGPL-2.1-or-later
// Decides from a deadline the ε of a policy that decides by distances. A Governor says how many computed
// steps the time allows, and ε is moved until the policy computes about that many.
#pragma once

#include "stream/governor.h"

namespace flowcache {

class ThresholdGovernor {
 public:
  // threshold: the first ε, > 0; ε stays between it divided by `range` and it times `range`. steps: of a
  // chunk.
  ThresholdGovernor(double threshold, int steps);

  void deadline(double seconds) { governor_.deadline(seconds); }
  // ε from now on.
  double threshold() const { return threshold_; }
  // As Governor::observe(). computed: number of steps of the finished chunk that ran the network. ε rises at
  // once if the chunk computed more steps than the time allows. It falls after several chunks that computed
  // clearly fewer.
  void observe(double step_seconds, double other_seconds, int computed);
  // A new stream begins on the same machine: ε is the first one again.
  void reset();

  static constexpr double range = 16;

 private:
  Governor governor_;
  double first_, threshold_;
  int calm_ = 0;  // chunks in a row that computed clearly fewer steps than there is time for
};

}  // namespace flowcache
