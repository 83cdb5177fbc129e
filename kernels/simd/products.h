// SPDX-License-Identifier: LGPL-2.1-or-later
// Products of rows with a matrix that is laid out once: linear layers, and convolutions of channels-last
// pictures, whose taps along a picture row lie side by side in memory. For every instruction set; on the
// calling thread.
#pragma once

#include <cstdint>

namespace flowcache::simd {

// What numbers a layer takes, keeps and gives.
enum class NumberType {
  fp32,
  bf16,  // sums in fp32; products by the processor's instruction: only where allowed_isa() is avx512bf16
  bf16_widened,  // the same numbers with products in fp32, for every processor
};

// The matrix [out, in]. in is even for bf16 (not for bf16_widened, here and below).
struct MatrixSize {
  int64_t in, out;
  NumberType type;
};

// The layout is that of the instruction set in force: it is not for files.
// How many bytes pack() fills, a multiple of 64.
int64_t packed_bytes(const MatrixSize& size);
// weight [out, in], contiguous, of the type. packed: packed_bytes(), at a multiple of 64 bytes.
void pack(const MatrixSize& size, const void* weight, void* packed);

enum class Activation { none, relu, gelu_tanh };

// A part of what a row is multiplied with: numbers `first` to `first` + `length` of the matrix's inputs are
// at `data` for row 0, and `Product.row_stride` numbers further for each row. length and stride are even for
// bf16.
struct Segment {
  const void* data;
  int64_t length;
};

// y[r] = activation(packed * x[r] + bias + addend[r]). Strides count numbers; rows of x may overlap.
struct Product {
  MatrixSize size;
  const void* packed;
  const float* bias = nullptr;   // [out], or null
  const void* addend = nullptr;  // rows of the type, or null
  int64_t addend_stride = 0;
  Activation activation = Activation::none;
  const Segment* segments;
  int64_t segment_count;  // 1..64
  int64_t row_stride;
  int64_t rows;
  void* y;  // rows of the type
  int64_t y_stride;
  float* scratch = nullptr;  // product_scratch() floats at a multiple of 64 bytes, for this call alone
};
void multiply(const Product& product);
// 0 where nothing is needed.
int64_t product_scratch(const MatrixSize& size);

}  // namespace flowcache::simd
