// SPDX-License-Identifier: LGPL-2.1-or-later
// What every file of this folder includes after it has set HWY_TARGET_INCLUDE to itself: Google Highway then
// compiles the file once for each instruction set. No include guard: it is read once for each.
//
// Compiled are SSE4, AVX2, AVX-512 and a plain fallback on x86-64, NEON and SVE on ARM.
#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL)
#include <hwy/foreach_target.h>
// After it, as it compiles for the target that is set there.
#include <hwy/highway.h>

#include "simd/targets.h"
