// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <vector>

namespace flowcache {

// How many tokens each unit (frame or chunk) of a window may keep, newest unit first. Unit d = 1 .. window
// gets budget * 2^-min(d, window - 1), rounded down; the newest also gets what remains. The sum is `budget`.
std::vector<int64_t> pack_quotas(int64_t budget, int window);

}  // namespace flowcache
