// SPDX-License-Identifier: LGPL-2.1-or-later
// A weight matrix in memory: in the type that it is computed with, or in 8 bits.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

// The type that a transformer computes with, and the type that its blocks' matrices are kept in.
struct Precision {
  at::ScalarType compute;  // fp32 or bf16: matrix products, keys and values
  at::ScalarType weights;  // the same, or at::kFloat8_e4m3fn
  // Not explicit, because one type for both is the common case.
  Precision(at::ScalarType both) : compute(both), weights(both) {}
  Precision(at::ScalarType compute_type, at::ScalarType weights_type)
      : compute(compute_type), weights(weights_type) {}
};

// Immutable once made; any thread.
struct Matrix {
  at::Tensor values;  // [out, in]
  at::Tensor scale;   // [out, 1], of the compute type; undefined unless values are fp8

  Matrix() = default;
  // Copies weight [out, in]. In 8 bits (e4m3) each row has its own scale, which maps the row's largest value
  // to the largest that e4m3 can hold. Values down to 2^-14 of the largest then keep three bits of mantissa.
  Matrix(const at::Tensor& weight, Precision precision, at::Device device);

  // [out, in] of the compute type. If the values are fp8, a new tensor at each call.
  at::Tensor restored() const;
};

}  // namespace flowcache
