// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/matrix.h"

#include <vector>

#include "base/interruption.h"
#include "networks/eight_bits.h"

namespace flowcache {

Matrix::Matrix(const at::Tensor& weight, Precision precision, at::Device device) {
  if (precision.weights == precision.compute) {
    values = weight.to(device, precision.compute, false, true).contiguous();
    return;
  }
  const double largest = largest_of(precision.weights);
  const at::Tensor wide = weight.to(device, at::kFloat);
  const at::Tensor rows = wide.abs().amax({1}, true).clamp_min(1e-30).div_(largest);
  // restored() multiplies by the rounded scale, so the division has to use the rounded scale too.
  scale = rows.to(precision.compute);
  at::Tensor scaled = wide / scale.to(at::kFloat);
  if (precision.weights == at::kChar) scaled.round_();
  values = scaled.clamp_(-largest, largest).to(precision.weights);
  if (precision.activations == precision.weights) column_scale = scale.to(at::kFloat).view({1, -1});
}

Matrix Matrix::joined(std::initializer_list<const Matrix*> parts) {
  const auto rows = [&](at::Tensor Matrix::*member, int64_t dim) {
    std::vector<at::Tensor> all;
    for (const Matrix* part : parts)
      if ((part->*member).defined()) all.push_back(part->*member);
    return all.empty() ? at::Tensor() : at::cat(all, dim);
  };
  Matrix all;
  all.values = rows(&Matrix::values, 0);
  all.scale = rows(&Matrix::scale, 0);
  all.column_scale = rows(&Matrix::column_scale, 1);
  return all;
}

at::Tensor Matrix::restored() const {
  return scale.defined() ? values.to(scale.scalar_type()).mul_(scale) : values;
}

at::Tensor Matrix::product(const at::Tensor& x, const at::Tensor& bias, Activation activation) const {
  stop_if_asked();
  const bool narrow = column_scale.defined() && takes_product(x, values);
  // One launch: cuBLASLt adds the bias and applies the activation, whose GELU is the tanh one.
  if (!narrow && x.is_cuda() && bias.defined() && activation != Activation::none)
    return at::_addmm_activation(bias, x, restored().t(), 1, 1, activation == Activation::gelu_tanh);
  const at::Tensor y =
      narrow ? eight_bit_product(x, values, column_scale, bias) : at::linear(x, restored(), bias);
  if (activation == Activation::relu) return y.relu();
  return activation == Activation::gelu_tanh ? at::gelu(y, "tanh") : y;
}

}  // namespace flowcache
