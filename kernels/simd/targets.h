// SPDX-License-Identifier: LGPL-2.1-or-later
// Which of the compiled instruction sets the kernels of this folder run with: the best that allowed_isa()
// (cpu_isa.h) leaves.
#pragma once

#include <string>
#include <vector>

namespace flowcache::simd {

// Before any kernel is called; FC_DISPATCH does so. Costs nothing after the first call. Any thread. Error
// (FC_ERROR_ARGUMENT) as allowed_isa().
void choose_target();

// "AVX2", "AVX3" (AVX-512), "SSE4", "NEON", …: what the kernels run with on this processor.
std::string target_name();

// For tests: every compiled target that this processor runs, best first, and the wish for one of them until
// the next wish; "" for the best. Not while a kernel runs.
std::vector<std::string> runnable_targets();
void force_target(const std::string& name);

}  // namespace flowcache::simd

// The best variant of a function that HWY_EXPORT names: FC_DISPATCH(f)(arguments).
#define FC_DISPATCH(function) (flowcache::simd::choose_target(), HWY_DYNAMIC_DISPATCH(function))
