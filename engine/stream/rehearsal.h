// SPDX-License-Identifier: LGPL-2.1-or-later
// Before the first chunk of a governed stream: what a step and decoding take on this machine, so that the first chunk
// already computes as many steps as there is time for.
#pragma once

#include <functional>

#include "stream/conditions.h"
#include "stream/parts.h"

namespace flowcache {

struct Rehearsal {
  double step_seconds = 0;   // of a computed step
  double other_seconds = 0;  // of the rest of a chunk
};

// Nothing of it stays in the parts. enough: seconds; what takes longer is timed once, else twice, as the first also pays
// for what later ones find ready. go_on: called between the parts of the work; throws to stop it.
Rehearsal rehearse(StreamParts& parts, const ConditionPair& conditions, double enough,
                   const std::function<void()>& go_on);

}  // namespace flowcache
