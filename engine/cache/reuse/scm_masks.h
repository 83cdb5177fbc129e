// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <string_view>

namespace flowcache {

// The pattern "slow", "medium", "fast" or "ultra" for `steps` steps: one character for each step, '1' for
// compute. Patterns for 4, 6, 8, 12, 28 and 50 steps are published. For another number, every step takes the
// character at its place in the next longer pattern; beyond 50 steps, in that of 50.
std::string scm_mask(std::string_view name, int steps);

}  // namespace flowcache
