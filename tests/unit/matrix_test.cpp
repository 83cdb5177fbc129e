// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/matrix.h"

#include <gtest/gtest.h>

#include <cmath>

#include "networks/eight_bits.h"
#include "networks/linear.h"

namespace flowcache {
namespace {

const Precision fp8{at::kBFloat16, at::kFloat8_e4m3fn};
const Precision int8{at::kBFloat16, at::kChar};
// As on a GPU that multiplies such numbers.
const Precision fp8_products{at::kBFloat16, at::kFloat8_e4m3fn, at::kFloat8_e4m3fn};
const Precision int8_products{at::kBFloat16, at::kChar, at::kChar};

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

// int8 has one step for a whole row, so no value is farther off than half of it, and a little for bf16.
TEST(Matrix, Int8IsOffByHalfAStepOfItsRow) {
  at::manual_seed(3);
  const at::Tensor weight = at::randn({6, 512}) * at::pow(10, at::arange(-4, 2).view({6, 1}).to(at::kFloat));
  const Matrix kept(weight, int8, at::kCPU);
  EXPECT_EQ(kept.values.element_size(), 1);
  const at::Tensor largest = weight.abs().amax({1}, true);
  const at::Tensor error = (kept.restored().to(at::kFloat) - weight).abs() / largest;
  EXPECT_LT(error.max().item<double>(), 0.5 / 127 + 1.0 / 256);
  EXPECT_GT(error.max().item<double>(), 0.2 / 127);
  const at::Tensor values = kept.values.to(at::kInt).abs().amax({1});
  EXPECT_TRUE(values.ge(126).all().item<bool>()) << "a row does not use the range";
}

TEST(Matrix, EightBitsTakeZerosAndWhatIsNotFinite) {
  for (const at::ScalarType type : {at::kFloat8_e4m3fn, at::kChar}) {
    const EightBits zeros = in_eight_bits(at::zeros({2, 8}), type);
    EXPECT_TRUE(zeros.values.to(at::kFloat).equal(at::zeros({2, 8})));
    at::Tensor x = at::ones({2, 8});
    x[1][3] = NAN;
    EXPECT_FALSE(at::isfinite(in_eight_bits(x, type).scale[1]).item<bool>());
    EXPECT_TRUE(at::isfinite(in_eight_bits(x, type).scale[0]).item<bool>());
  }
}

// A product of 8-bit numbers against the exact one. Each operand is off by at most half a unit: e4m3's of a number itself, on
// average less; int8's of its row's largest. Rows of very different size must not share a scale.
TEST(Matrix, ProductsOfEightBitsAreNearTheExactOnes) {
  at::manual_seed(4);
  const at::Tensor weight = at::randn({96, 512}), bias = at::randn({96}) * 10;
  const at::Tensor size = at::pow(10, at::arange(0, 40).remainder(5).to(at::kFloat) - 2).view({40, 1});
  const at::Tensor x = (at::randn({40, 512}) * size).to(at::kBFloat16);
  const at::Tensor exact = at::linear(x.to(at::kDouble), weight.to(at::kDouble)).to(at::kFloat);
  for (const auto& [precision, most] : {std::pair(fp8_products, 0.055), std::pair(int8_products, 0.018)}) {
    const Matrix matrix(weight, precision, at::kCPU);
    const at::Tensor got = matrix.product(x);
    EXPECT_EQ(got.scalar_type(), at::kBFloat16);
    for (int64_t row = 0; row < x.size(0); ++row)
      EXPECT_LT(distance(got[row], exact[row]), most) << row << " " << precision.weights;
    // The activations are rounded, and not only the weights.
    const Matrix restored(weight, {precision.compute, precision.weights}, at::kCPU);
    EXPECT_GT(distance(got, exact), 1.2 * distance(restored.product(x), exact));
    const at::Tensor with_bias = matrix.product(x, bias.to(at::kBFloat16));
    EXPECT_LT(distance(with_bias, got.to(at::kFloat) + bias), 0.01);
    EXPECT_TRUE(matrix.product(x, bias.to(at::kBFloat16), Activation::relu).equal(with_bias.relu()));
    EXPECT_TRUE(
        matrix.product(x, bias.to(at::kBFloat16), Activation::gelu_tanh).equal(at::gelu(with_bias, "tanh")));
  }
}

TEST(Matrix, JoinedIsOneAfterTheOther) {
  at::manual_seed(5);
  const at::Tensor a = at::randn({8, 32}), b = at::randn({16, 32}), x = at::randn({5, 32}).to(at::kBFloat16);
  for (const Precision& precision : {Precision(at::kBFloat16), fp8, int8, fp8_products, int8_products}) {
    const Matrix one(a, precision, at::kCPU), two(b, precision, at::kCPU);
    const Matrix both = Matrix::joined({&one, &two});
    EXPECT_TRUE(both.restored().equal(at::cat({one.restored(), two.restored()})));
    EXPECT_EQ(both.column_scale.defined(), precision.activations != at::kBFloat16);
    EXPECT_TRUE(at::allclose(both.product(x), at::cat({one.product(x), two.product(x)}, 1), 1e-2, 1e-2));
  }
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
  for (const Precision& precision : {fp8, int8}) {
    const Linear layer(weight, bias, precision, at::kCPU);
    const at::Tensor want =
        at::linear(x, Matrix(weight, precision, at::kCPU).restored(), bias.to(at::kBFloat16));
    EXPECT_TRUE(layer(x).equal(want));
    EXPECT_TRUE(layer(x, Activation::gelu_tanh).equal(at::gelu(want, "tanh")));
  }
}

}  // namespace
}  // namespace flowcache
