// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/matrix.h"

namespace flowcache {

constexpr double largest_e4m3 = 448;

Matrix::Matrix(const at::Tensor& weight, Precision precision, at::Device device) {
  if (precision.weights == precision.compute) {
    values = weight.to(device, precision.compute, false, true).contiguous();
    return;
  }
  const at::Tensor wide = weight.to(device, at::kFloat);
  const at::Tensor rows = wide.abs().amax({1}, true).clamp_min(1e-30).div_(largest_e4m3);
  // restored() multiplies by the rounded scale, so the division has to use the rounded scale too.
  scale = rows.to(precision.compute);
  values = (wide / scale.to(at::kFloat)).clamp_(-largest_e4m3, largest_e4m3).to(precision.weights);
}

at::Tensor Matrix::restored() const {
  return scale.defined() ? values.to(scale.scalar_type()).mul_(scale) : values;
}

}  // namespace flowcache
