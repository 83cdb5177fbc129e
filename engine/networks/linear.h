// SPDX-License-Identifier: LGPL-2.1-or-later
// A linear layer whose weight is laid out once for the processor it runs on.
#pragma once

#include "networks/matrix.h"

namespace flowcache {

enum class Activation { none, gelu_tanh };

// Immutable; any thread, also inside at::parallel_for, where it stays on the calling thread.
class Linear {
 public:
  Linear() = default;
  // weight [out, in], bias [out] or undefined; copied to `device`. rows: how many input rows to expect at
  // once, a hint for the layout. A weight in 8 bits is restored at every call.
  Linear(const at::Tensor& weight, const at::Tensor& bias, Precision precision, at::Device device,
         int64_t rows = 64);

  // x [rows, in] of the compute type -> [rows, out] of the compute type.
  at::Tensor operator()(const at::Tensor& x, Activation activation = Activation::none) const;

  int64_t out_features() const { return out_; }

 private:
  Matrix weight_;
  at::Tensor bias_;
  int64_t out_ = 0;
  bool packed_ = false;
};

}  // namespace flowcache
