// SPDX-License-Identifier: LGPL-2.1-or-later
#include <cstdlib>
#include <memory>

#include "check.h"
#include "simd/products.h"

namespace check {
namespace {

using namespace flowcache::simd;

struct ProductShape {
  const char* what;
  int64_t rows, in, out;
  Activation activation = Activation::none;
  bool addend = false, bias = true;
  int64_t pieces = 1;   // the inputs of a row lie in so many places
  int64_t overlap = 0;  // numbers that neighbouring rows share
};

double activated(double x, Activation activation) {
  if (activation == Activation::relu) return x < 0 ? 0 : x;
  if (activation == Activation::gelu_tanh)
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  return x;
}

// Inputs and results, as fp32 and, where asked for, as bf16 of the same values.
struct Layer {
  ProductShape shape;
  NumberType type;
  bool bf16;
  int64_t piece, stride;
  std::vector<float> x, weight, bias, addend, y, scratch;
  std::vector<uint16_t> x16, weight16, addend16, y16;
  std::vector<double> want;
  void* packed = nullptr;
  ~Layer() { std::free(packed); }

  Layer(const ProductShape& s, NumberType type)
      : shape(s),
        type(type),
        bf16(type != NumberType::fp32),
        piece(s.in / s.pieces),
        stride(piece - s.overlap) {
    x = numbers(s.pieces * (s.rows * stride + piece), 1, 1);
    weight = numbers(s.out * s.in, 1 / std::sqrt(static_cast<float>(s.in)), 2);
    bias = numbers(s.out, 1, 3), addend = numbers(s.rows * s.out, 1, 4);
    if (bf16) {
      x16 = to_bf16(x), weight16 = to_bf16(weight), addend16 = to_bf16(addend);
      x = from_bf16(x16), weight = from_bf16(weight16), addend = from_bf16(addend16);
    }
    for (int64_t r = 0; r < s.rows; ++r)
      for (int64_t o = 0; o < s.out; ++o) {
        double sum = s.bias ? bias[o] : 0;
        for (int64_t i = 0; i < s.in; ++i)
          sum += static_cast<double>(x[at(i / piece, r) + i % piece]) * weight[o * s.in + i];
        if (s.addend) sum += addend[r * s.out + o];
        want.push_back(activated(sum, s.activation));
      }
    y.resize(want.size()), y16.resize(want.size());
  }

  int64_t at(int64_t piece_index, int64_t row) const {
    return piece_index * (shape.rows * stride + piece) + row * stride;
  }

  // Packed anew where the target changed: the layout is its own.
  void pack_for_target() {
    const MatrixSize size{shape.in, shape.out, type};
    std::free(packed);
    packed = std::aligned_alloc(64, static_cast<size_t>(packed_bytes(size)));
    scratch.assign(static_cast<size_t>(product_scratch(size)), NAN);
    pack(size, bf16 ? static_cast<const void*>(weight16.data()) : weight.data(), packed);
  }

  void run() {
    std::vector<Segment> segments;
    for (int64_t i = 0; i < shape.pieces; ++i)
      segments.push_back(
          {bf16 ? static_cast<const void*>(x16.data() + at(i, 0)) : x.data() + at(i, 0), piece});
    multiply({.size = {shape.in, shape.out, type},
              .packed = packed,
              .bias = shape.bias ? bias.data() : nullptr,
              .addend = !shape.addend ? nullptr
                        : bf16        ? static_cast<const void*>(addend16.data())
                                      : addend.data(),
              .addend_stride = shape.out,
              .activation = shape.activation,
              .segments = segments.data(),
              .segment_count = shape.pieces,
              .row_stride = stride,
              .rows = shape.rows,
              .y = bf16 ? static_cast<void*>(y16.data()) : y.data(),
              .y_stride = shape.out,
              .scratch = scratch.data()});
  }
};

void add(std::vector<Case>& cases, const ProductShape& s, NumberType type, const char* type_name) {
  const auto layer = std::make_shared<Layer>(s, type);
  cases.push_back({.name = std::string("product ") + type_name + " " + std::to_string(s.rows) + " x " +
                           std::to_string(s.in) + " x " + std::to_string(s.out) + ", " + s.what,
                   .prepare = [layer] { layer->pack_for_target(); },
                   .run = [layer] { layer->run(); },
                   // The rounding of fp32 sums grows with the root of their length; bf16 rounds the result to
                   // 2^-9 of itself.
                   .error =
                       [layer] {
                         return worst(layer->bf16 ? from_bf16(layer->y16) : layer->y, layer->want,
                                      2e-6 + 5e-7 * std::sqrt(static_cast<double>(layer->shape.in)),
                                      layer->bf16 ? 0.004 : 0);
                       },
                   .flops = 2.0 * static_cast<double>(s.rows * s.in * s.out),
                   .widest = type == NumberType::bf16_pairs || type == NumberType::bf16_tiles});
}

}  // namespace

void add_products(std::vector<Case>& cases) {
  const std::vector<ProductShape> shapes = {
      {"one of each", 1, 2, 1},
      {"odd", 7, 34, 13},
      {"no bias", 5, 64, 24, Activation::none, false, false},
      {"relu of a sum", 9, 48, 20, Activation::relu, true},
      {"relu of a sum, whole vectors", 9, 48, 64, Activation::relu, true},
      {"long inputs", 67, 5000, 40, Activation::gelu_tanh, true},
      {"a convolution's row: 3 x 3 taps", 130, 9 * 32, 32, Activation::relu, false, true, 3, 64},
      {"the same, 12 channels out of 24", 256, 9 * 24, 12, Activation::none, false, true, 3, 48},
      {"2 x 2 taps", 129, 4 * 32, 48, Activation::relu, false, false, 2, 32},
      {"ambient's projections", 54, 192, 576},
      {"ambient's output", 54, 192, 192},
      {"ambient's feed-forward in", 54, 192, 768, Activation::gelu_tanh},
      {"ambient's feed-forward out", 54, 768, 192},
      {"Wan 1.3B's output", 64, 1536, 1536},
      {"Wan 1.3B's feed-forward out", 64, 8960, 1536}};
  for (const ProductShape& s : shapes) {
    add(cases, s, NumberType::fp32, "fp32");
    add(cases, s, NumberType::bf16_widened, "bf16 in fp32");
    if (has_pairs()) add(cases, s, NumberType::bf16_pairs, "bf16 in pairs");
    if (has_tiles()) add(cases, s, NumberType::bf16_tiles, "bf16 in tiles");
  }
}

}  // namespace check
