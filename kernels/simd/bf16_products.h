// SPDX-License-Identifier: LGPL-2.1-or-later
// How kernels multiply numbers in bf16 on this processor.
#pragma once

namespace flowcache::simd {

enum class Bf16Products {
  widened,  // as fp32: on every processor
  pairs,    // two products and their sum in an instruction: from CpuIsa::avx512bf16 on
  tiles,    // 16 x 16 sums of 32 products in an instruction: from CpuIsa::amx on
};

// The fastest that allowed_isa() allows: tiles where there are any. Pairs are twice as fast as fp32 on AMD's Zen 4 and
// half as fast on Intel's Sapphire Rapids, so the first call times both, for a tenth of a millisecond. Any
// thread. Throws FC_ERROR_ARGUMENT as allowed_isa() does.
Bf16Products bf16_products();

}  // namespace flowcache::simd
