// SPDX-License-Identifier: LGPL-2.1-or-later
// LibTorch, oneDNN and the C library end the process if the system refuses them memory at some places: in
// parallel sections, and for the thread-locals of a new thread. So the engine checks that there is memory
// before it calls them.
#pragma once

namespace flowcache {

// True if the system would give 64 MB more. Takes microseconds and allocates nothing that stays.
bool has_headroom() noexcept;

inline constexpr const char* out_of_memory =
    "the system gives this program no more memory: lower kv_budget, close streams or other programs, or "
    "raise its limit (ulimit -v)";

}  // namespace flowcache
