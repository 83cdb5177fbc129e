// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <string_view>

namespace flowcache {

// The pattern "slow", "medium", "fast" or "ultra" for `steps` steps, one character a step, '1' computes.
// Published for 4, 6, 8, 12, 28 and 50 steps; for others the next longer one, thinned out evenly.
std::string scm_mask(std::string_view name, int steps);

}  // namespace flowcache
