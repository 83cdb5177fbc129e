// SPDX-License-Identifier: LGPL-2.1-or-later
// How far one feature is from another: the distance that the reuse policies use (FlowCache, arXiv 2602.10825;
// TeaCache, arXiv 2411.19108).
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

// mean|cur - prev| / mean|prev| over all elements. Both have the same shape, type (fp32, bf16, fp16 or fp64)
// and device, and are not empty; else throws FC_ERROR_INTERNAL. Sums are in double, in one pass. The result
// depends only on the values, not on the number of threads. If prev is all zero: +infinity, or 0 if cur is,
// too. A NaN in either gives NaN. On an NVIDIA GPU it is two kernels (cuda_kernels.h), and waits for them.
double relative_l1(const at::Tensor& cur, const at::Tensor& prev);

}  // namespace flowcache
