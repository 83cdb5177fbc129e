// SPDX-License-Identifier: LGPL-2.1-or-later
// Which of the compiled instruction sets the kernels of this folder use: the best
// that allowed_isa() (cpu_isa.h) allows.
#pragma once

#include <string>
#include <vector>

namespace flowcache::simd {

// Must be called before any kernel; FC_DISPATCH does so. Costs nothing after the first call. Any thread.
// Throws FC_ERROR_ARGUMENT as allowed_isa() does.
void choose_target();

// What the kernels use on this processor: "AVX2", "AVX3" (which is AVX-512), "SSE4", "NEON", ….
std::string target_name();

// For tests. All compiled targets that this processor can run, best first; and the choice of one of them,
// which holds until the next choice; "" chooses the best. Not while a kernel runs.
std::vector<std::string> runnable_targets();
void force_target(const std::string& name);

}  // namespace flowcache::simd

// Calls the best variant of a function that HWY_EXPORT has named: FC_DISPATCH(f)(arguments).
#define FC_DISPATCH(function) (flowcache::simd::choose_target(), HWY_DYNAMIC_DISPATCH(function))
