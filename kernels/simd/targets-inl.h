// SPDX-License-Identifier: LGPL-2.1-or-later
// Every file of this folder sets HWY_TARGET_INCLUDE to itself and then includes this file. Google Highway
// then compiles the file once for each instruction set. There is no include guard, because it must be read
// each time.
//
// Instruction sets: SSE4, AVX2, AVX-512 and a plain fallback on x86-64; NEON and SVE on ARM.
#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL)
#include <hwy/foreach_target.h>
// Must follow, because it compiles for the target that foreach_target.h sets.
#include <hwy/highway.h>

#include "simd/targets.h"
