// SPDX-License-Identifier: LGPL-2.1-or-later
// A linear layer whose weight is laid out once for the processor it runs on.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

enum class Activation { none, gelu_tanh };

// Immutable; any thread, also inside at::parallel_for, where it stays on the calling thread.
class Linear {
 public:
  Linear() = default;
  // weight [out, in], bias [out] or undefined; copied to `compute` and `device`. rows: how many input rows to
  // expect at once, a hint for the layout.
  Linear(const at::Tensor& weight, const at::Tensor& bias, at::ScalarType compute, at::Device device,
         int64_t rows = 64);

  // x [rows, in] of the compute type -> [rows, out] of the compute type.
  at::Tensor operator()(const at::Tensor& x, Activation activation = Activation::none) const;

  int64_t out_features() const { return out_; }

 private:
  at::Tensor weight_, bias_;
  int64_t out_ = 0;
  bool packed_ = false;
};

}  // namespace flowcache
