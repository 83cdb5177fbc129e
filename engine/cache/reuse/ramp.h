// SPDX-License-Identifier: LGPL-2.1-or-later
// Where a given number of computed steps lies best in a chunk.
#pragma once

#include "cache/registry.h"

namespace flowcache {

// Is `step` one of the `computed` steps round((steps - 1) (k / (computed - 1))^power), k = 0..computed - 1?
// power 1 spaces them evenly, more crowds them at the start.
bool on_ramp(int step, int steps, int computed, double power);

// The option "power".
OptionSpec power_option();

}  // namespace flowcache
