// SPDX-License-Identifier: LGPL-2.1-or-later
// Which steps of a chunk are computed, if their number is given.
#pragma once

#include "cache/registry.h"

namespace flowcache {

struct Ramp {
  int computed = 0;  // number of steps that run the network; a chunk with fewer steps computes all of them
  double power = 1;  // 1 spaces the computed steps evenly; a larger power moves them towards the start
  // Number of reused steps after the last computed one. -1: N (8 - computed) / 14, at least 1. At the end of
  // a chunk the velocity changes least, so reuse does the least harm there.
  int end = -1;

  // True if this step is computed. The computed steps are round(reach (k / (computed - 1))^power) for k = 0
  // .. computed - 1. `reach` is the number of the chunk's last step minus `end`; where the last step becomes
  // history, it is the last step. Four rules adjust this:
  // - Steps that would be the same are moved to later ones, so that there are always `computed` of them.
  // - The first gap is at least half as long as the second, so that the line through the first two computed
  //   steps is not extrapolated over more than twice their distance.
  // - If power > 1 and the first gap is longer than one step, the second gap is longer than the first.
  // - Under the same condition, the third gap is at least as long as the second.
  bool computes(const StepInfo& info) const;
  // The number of computed steps of the chunk after this one.
  int left(const StepInfo& done) const;
};

// Appends the options "power" and "end"; ramp_of() reads them.
std::vector<OptionSpec> with_ramp(std::vector<OptionSpec> options);
Ramp ramp_of(const Options& options, int computed = 0);

}  // namespace flowcache
