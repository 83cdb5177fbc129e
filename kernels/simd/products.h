// SPDX-License-Identifier: LGPL-2.1-or-later
// Products of rows with a matrix that is laid out once. They serve linear layers, and convolutions of
// pictures with channels last, where the taps along a picture's row lie side by side in memory. For every
// instruction set; on the calling thread alone.
#pragma once

#include <cstdint>

#include "simd/number_type.h"

namespace flowcache::simd {

// A matrix [out, in], whose type is that of a layer's inputs, weights and outputs. For pairs and tiles `in` is even.
struct MatrixSize {
  int64_t in, out;
  NumberType type;
};

// How many bytes pack() fills; a multiple of 64. The layout depends on the instruction set in force, so it
// must not be written to files.
int64_t packed_bytes(const MatrixSize& size);
// weight: [out, in] of the type, contiguous. packed: packed_bytes() bytes at a multiple of 64.
void pack(const MatrixSize& size, const void* weight, void* packed);

enum class Activation { none, relu, gelu_tanh };

// A part of the inputs: the next `length` numbers of each row. They begin at `data` for row 0, and
// Product.row_stride numbers further for each following row. For pairs and tiles length and stride are even.
struct Segment {
  const void* data;
  int64_t length;
};

// y[r] = activation(packed * x[r] + bias + addend[r]), where x[r] is all segments of row r, one after the
// other. Strides count numbers. Rows of x may overlap.
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
  float* scratch = nullptr;  // product_scratch() floats at a multiple of 64 bytes; used during the call
};
void multiply(const Product& product);
// How many floats of scratch multiply() needs; may be 0.
int64_t product_scratch(const MatrixSize& size);

}  // namespace flowcache::simd
