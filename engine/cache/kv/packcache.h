// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <vector>

namespace flowcache {

// Tokens that the d-th previous unit of a window of `window` may keep, newest first: budget * 2^-min(d,
// window-1), rounded down; what is left over goes to the newest. Sums to `budget`.
std::vector<int64_t> pack_quotas(int64_t budget, int window);

}  // namespace flowcache
