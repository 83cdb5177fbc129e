// SPDX-License-Identifier: LGPL-2.1-or-later
// How the CPU halves of the kernels get wide instructions without compiling the library for one processor.
#pragma once

// Put before a function whose loops the compiler can vectorise: it is compiled for AVX-512, AVX2 with FMA and
// the baseline, and the loader picks one. Functions that it calls must be inlined into it (FC_INLINE), or
// they stay baseline.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FC_VECTORISED __attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3")))
#else
#define FC_VECTORISED
#endif
#define FC_INLINE [[gnu::always_inline]] inline
