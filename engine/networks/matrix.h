// SPDX-License-Identifier: LGPL-2.1-or-later
// A weight matrix in memory: in the type that it is computed with, or in 8 bits.
#pragma once

#include <ATen/ATen.h>

#include <initializer_list>

#include "simd/products.h"

namespace flowcache {

using simd::Activation;

// The type that a transformer computes with, and the type that its blocks' matrices are kept in.
struct Precision {
  at::ScalarType compute;      // fp32 or bf16: matrix products, keys and values
  at::ScalarType weights;      // the same, or 8 bits: at::kFloat8_e4m3fn, at::kChar
  at::ScalarType activations;  // what these matrices are multiplied with: `compute` or `weights`
  // Not explicit, because one type for all is the common case.
  Precision(at::ScalarType all) : Precision(all, all) {}
  Precision(at::ScalarType compute_type, at::ScalarType weights_type)
      : Precision(compute_type, weights_type, compute_type) {}
  Precision(at::ScalarType compute_type, at::ScalarType weights_type, at::ScalarType activations_type)
      : compute(compute_type), weights(weights_type), activations(activations_type) {}
};

// Immutable once made; any thread.
struct Matrix {
  at::Tensor values;  // [out, in]
  at::Tensor scale;   // [out, 1], of the compute type; undefined unless values are of 8 bits
  // [1, out] fp32, the same numbers, if activations are rounded to 8 bits, too; else undefined.
  at::Tensor column_scale;

  Matrix() = default;
  // Copies weight [out, in]. In 8 bits each row has its own scale, which maps the row's largest value to the
  // largest that the type can hold. In e4m3 values down to 2^-14 of the largest then keep three bits of
  // mantissa; in int8 all have the same error, at most 1/254 of the largest.
  Matrix(const at::Tensor& weight, Precision precision, at::Device device);

  // The rows of all, one after the other.
  static Matrix joined(std::initializer_list<const Matrix*> parts);

  // [out, in] of the compute type. If the values are of 8 bits, a new tensor at each call.
  at::Tensor restored() const;

  // activation(x weight^T + bias), [rows, out] of x's type. x [rows, in] of the compute type, bias [out] of it
  // or undefined. On NVIDIA GPUs bias and activation are part of the product, unless that is one of 8 bits.
  at::Tensor product(const at::Tensor& x, const at::Tensor& bias = {},
                     Activation activation = Activation::none) const;
};

}  // namespace flowcache
