// SPDX-License-Identifier: LGPL-2.1-or-later
// How far one feature is from another: the measure of the reuse policies (FlowCache, TeaCache and their kin).
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

// mean|cur - prev| / mean|prev| over all elements. Same shape, dtype (fp32, bf16, fp16, fp64) and device; not
// empty. Sums in double and in one pass; the result depends on the values alone, not on the number of
// threads. prev all zero: +infinity, or 0 if cur is too. NaN in, NaN out. Throws FC_ERROR_INTERNAL on a
// mismatch.
double relative_l1(const at::Tensor& cur, const at::Tensor& prev);

}  // namespace flowcache
