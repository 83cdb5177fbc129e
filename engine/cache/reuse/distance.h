// SPDX-License-Identifier: LGPL-2.1-or-later
// How far a feature has moved since the step before.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

enum class Metric {
  fp32,
  bf16,  // difference, means and quotient rounded to bf16, as FlowCache's MAGI-1 code runs
};

// mean|current - previous| / mean|previous|. Not finite if only `previous` is all zero. Same shape and type.
double relative_change(const at::Tensor& current, const at::Tensor& previous, Metric metric = Metric::fp32);

// A copy of a feature that outlives the step; keeps its allocation as long as the shape stays.
class KeptFeature {
 public:
  // True if something of the shape and type of `feature` is kept, so that the two can be compared.
  bool comparable(const at::Tensor& feature) const;
  void keep(const at::Tensor& feature);
  const at::Tensor& value() const { return value_; }
  uint64_t bytes() const { return value_.defined() ? value_.nbytes() : 0; }

 private:
  at::Tensor value_;
};

}  // namespace flowcache
