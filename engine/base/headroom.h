// SPDX-License-Identifier: LGPL-2.1-or-later
// LibTorch, oneDNN and the C library end the process where some of their allocations are refused: in parallel
// sections, and for the thread-locals of a thread that comes for the first time. So there must be room before
// they are called.
#pragma once

namespace flowcache {

// Would the system give 64 MB more? Takes microseconds and keeps nothing.
bool has_headroom() noexcept;

inline constexpr const char* out_of_memory =
    "the system gives this program no more memory: lower kv_budget, close streams or other programs, or "
    "raise its limit (ulimit -v)";

}  // namespace flowcache
