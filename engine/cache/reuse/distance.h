// SPDX-License-Identifier: LGPL-2.1-or-later
// How far a feature has moved since the step before.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

enum class Metric {
  fp32,
  bf16,  // difference, means and quotient are rounded to bf16, as in FlowCache's code for MAGI-1
};

// mean|current - previous| / mean|previous|. Both have the same shape and type. If `previous` is all zero,
// the result is not finite, unless `current` is all zero, too.
double relative_change(const at::Tensor& current, const at::Tensor& previous, Metric metric = Metric::fp32);

// A copy of a feature that stays valid after the step. Its memory is reused while shape and type stay the
// same.
class KeptFeature {
 public:
  // True if the kept feature has the shape and type of `feature`, so that both can be compared.
  bool comparable(const at::Tensor& feature) const;
  void keep(const at::Tensor& feature);
  const at::Tensor& value() const { return value_; }
  uint64_t bytes() const { return value_.defined() ? value_.nbytes() : 0; }

 private:
  at::Tensor value_;
};

}  // namespace flowcache
