// SPDX-License-Identifier: LGPL-2.1-or-later
// Where a given number of computed steps lies best in a chunk.
#pragma once

#include "cache/registry.h"

namespace flowcache {

struct Ramp {
  int computed = 0;  // steps that run the network; all of them if a chunk has fewer
  double power = 1;  // 1 spaces them evenly, more crowds them at the start
  int end = -1;  // steps between the last computed one and the chunk's last; -1: N (8 - computed) / 14, at
                 // least 1: the last computed velocity is the cheapest to draw out, the straighter the better

  // Is this one of the steps round(reach (k / (computed - 1))^power), k = 0..computed - 1? reach is the
  // chunk's last step less `end`, or the last itself where that becomes history. Steps that would coincide
  // move on, so that there are always `computed` of them. The first gap is at least half the second: the line
  // through the first two computations, early and close together, is not drawn out further. If they
  // grow at all and it is more than one step, the second is longer, and the third no shorter than the second.
  bool computes(const StepInfo& info) const;
  // How many of the chunk's steps behind this one are such steps.
  int left(const StepInfo& done) const;
};

// The options "power" and "end", and what they say.
std::vector<OptionSpec> with_ramp(std::vector<OptionSpec> options);
Ramp ramp_of(const Options& options, int computed = 0);

}  // namespace flowcache
