// SPDX-License-Identifier: LGPL-2.1-or-later
// A linear layer whose weight is laid out once for the processor that it runs on.
#pragma once

#include "networks/matrix.h"
#include "simd/products.h"

namespace flowcache {

// Immutable; any thread. Inside at::parallel_for it runs on the calling thread alone.
class Linear {
 public:
  Linear() = default;
  // weight [out, in], bias [out] or undefined; copied to `device`. On a CPU the weight is laid out for
  // simd/products.h if it is fp32, or bf16 on a processor that multiplies bf16. A weight in 8 bits is
  // restored at every call, unless activations are rounded to 8 bits, too (matrix.h).
  Linear(const at::Tensor& weight, const at::Tensor& bias, Precision precision, at::Device device);

  // x [rows, in] of the compute type -> [rows, out] of the compute type.
  at::Tensor operator()(const at::Tensor& x, Activation activation = Activation::none) const;

  int64_t out_features() const { return out_; }

 private:
  at::Tensor run_packed(const at::Tensor& rows, Activation activation) const;

  Matrix weight_;
  simd::MatrixSize size_{};
  at::Tensor bias_;
  int64_t out_ = 0;
  bool packed_ = false;
};

}  // namespace flowcache
