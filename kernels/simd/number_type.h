// SPDX-License-Identifier: LGPL-2.1-or-later
// The types of numbers that attention and products work on.
#pragma once

namespace flowcache::simd {

enum class NumberType {
  fp32,
  // bf16 with sums in fp32. How it is multiplied:
  bf16_widened,  // as fp32: on every processor
  bf16_pairs,    // two products and their sum in an instruction: from CpuIsa::avx512bf16 on
  bf16_tiles,    // 16 x 16 sums of 32 products in an instruction: from CpuIsa::amx on
};

// The fastest form of bf16 that allowed_isa() allows: tiles where there are any. Pairs are twice as fast as fp32 on AMD's
// Zen 4 and half as fast on Intel's Sapphire Rapids, so the first call times both, for a tenth of a millisecond. Any
// thread. Throws FC_ERROR_ARGUMENT as allowed_isa() does.
NumberType fastest_bf16();

}  // namespace flowcache::simd
