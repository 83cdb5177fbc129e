// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/reuse/distance.h"

#include "relative_l1.h"

namespace flowcache {

double relative_change(const at::Tensor& current, const at::Tensor& previous, Metric metric) {
  if (metric == Metric::fp32) return relative_l1(current, previous);
  const at::Tensor a = current.to(at::kBFloat16), b = previous.to(at::kBFloat16);
  return ((a - b).abs().mean() / b.abs().mean()).item<double>();
}

bool KeptFeature::comparable(const at::Tensor& feature) const {
  return value_.defined() && feature.defined() && value_.sizes() == feature.sizes() &&
         value_.scalar_type() == feature.scalar_type();
}

void KeptFeature::keep(const at::Tensor& feature) {
  if (comparable(feature))
    value_.copy_(feature);
  else
    value_ = feature.defined() ? feature.clone(at::MemoryFormat::Contiguous) : at::Tensor();
}

}  // namespace flowcache
