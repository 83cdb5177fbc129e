// SPDX-License-Identifier: LGPL-2.1-or-later
// A weight matrix as it is kept: in the type that it is computed with, or in 8 bits.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

// What a transformer computes with and what it keeps its blocks' matrices in.
struct Precision {
  at::ScalarType compute;  // fp32 or bf16: matrix products, keys and values
  at::ScalarType weights;  // the same, or at::kFloat8_e4m3fn
  // Not explicit: a plain type is the common case.
  Precision(at::ScalarType both) : compute(both), weights(both) {}
  Precision(at::ScalarType compute_type, at::ScalarType weights_type)
      : compute(compute_type), weights(weights_type) {}
};

// Immutable once set; any thread.
struct Matrix {
  at::Tensor values;  // [out, in]
  at::Tensor scale;   // [out, 1], of the compute type; undefined unless values are fp8

  Matrix() = default;
  // Copies `weight`. In 8 bits each row has a scale of its own, so that its largest value is the largest that
  // e4m3 holds: three bits of mantissa stay for whatever is within 2^-14 of it.
  Matrix(const at::Tensor& weight, Precision precision, at::Device device);

  // [out, in] of the compute type; of fp8, made anew each time.
  at::Tensor restored() const;
};

}  // namespace flowcache
