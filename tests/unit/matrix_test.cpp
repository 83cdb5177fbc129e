// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/matrix.h"

#include <gtest/gtest.h>

#include "networks/linear.h"

namespace flowcache {
namespace {

const Precision fp8{at::kBFloat16, at::kFloat8_e4m3fn};

double distance(const at::Tensor& got, const at::Tensor& want) {
  return ((got.to(at::kFloat) - want).norm() / want.norm()).item<double>();
}

TEST(Matrix, KeepsThreeBitsOfMantissaInEachRow) {
  at::manual_seed(1);
  // Rows of very different size, because a single scale for the whole matrix would lose the small ones.
  const at::Tensor weight = at::randn({6, 512}) * at::pow(10, at::arange(-4, 2).view({6, 1}).to(at::kFloat));
  const Matrix kept(weight, fp8, at::kCPU);
  EXPECT_EQ(kept.values.element_size(), 1);
  EXPECT_EQ(kept.restored().scalar_type(), at::kBFloat16);
  for (int64_t row = 0; row < weight.size(0); ++row)
    EXPECT_LT(distance(kept.restored()[row], weight[row]), 0.03) << row;
  // Half a unit of the last of three bits, and a little for bf16.
  const at::Tensor error = ((kept.restored().to(at::kFloat) - weight) / weight).abs();
  EXPECT_LT(at::where(weight.abs() > 1e-3 * weight.abs().amax({1}, true), error, at::zeros_like(error))
                .max()
                .item<double>(),
            1.0 / 16 + 1.0 / 128);
}

TEST(Matrix, TakesRowsOfZerosAndTheLargestValues) {
  at::Tensor weight = at::zeros({2, 8});
  weight[1].fill_(3e38);
  weight[1][0] = -3e38;
  const at::Tensor restored = Matrix(weight, fp8, at::kCPU).restored().to(at::kFloat);
  EXPECT_TRUE(restored[0].equal(weight[0]));
  EXPECT_TRUE(at::isfinite(restored).all().item<bool>());
  EXPECT_LT(distance(restored[1] / 3e38, weight[1] / 3e38), 0.01);
}

TEST(Matrix, OtherPrecisionsKeepTheType) {
  const at::Tensor weight = at::randn({4, 4});
  EXPECT_TRUE(Matrix(weight, at::kFloat, at::kCPU).restored().equal(weight));
  EXPECT_TRUE(Matrix(weight, at::kBFloat16, at::kCPU).restored().equal(weight.to(at::kBFloat16)));
}

TEST(Linear, MultipliesByWhatIsRestored) {
  at::manual_seed(2);
  const at::Tensor weight = at::randn({24, 32}), bias = at::randn({24}),
                   x = at::randn({5, 32}).to(at::kBFloat16);
  const Linear layer(weight, bias, fp8, at::kCPU);
  const at::Tensor want = at::linear(x, Matrix(weight, fp8, at::kCPU).restored(), bias.to(at::kBFloat16));
  EXPECT_TRUE(layer(x).equal(want));
  EXPECT_TRUE(layer(x, Activation::gelu_tanh).equal(at::gelu(want, "tanh")));
}

}  // namespace
}  // namespace flowcache
