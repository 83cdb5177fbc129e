// SPDX-License-Identifier: LGPL-2.1-or-later
// Measures before the first chunk of a governed stream how long a step and decoding take on this machine. So
// the first chunk already computes as many steps as there is time for.
#pragma once

#include <functional>

#include "stream/conditions.h"
#include "stream/parts.h"

namespace flowcache {

struct Rehearsal {
  double step_seconds = 0;   // time of a computed step
  double other_seconds = 0;  // time of the rest of a chunk
};

// Leaves `parts` as they were before. Work that takes longer than `enough` seconds is timed once. Other work
// is timed twice and the shorter time counts, because the first run also initialises things. go_on: called
// between pieces of work; it may throw to stop the rehearsal.
Rehearsal rehearse(StreamParts& parts, const ConditionPair& conditions, double enough,
                   const std::function<void()>& go_on);

}  // namespace flowcache
