// SPDX-License-Identifier: LGPL-2.1-or-later
// Pictures in the layout of this project's CPU convolutions, and these convolutions. Channels come last, so
// that the neighbours that a row of taps reads lie side by side in memory. Around each picture is a border of
// zeros, so that its edges need no special case. simd/products.h does the arithmetic.
#pragma once

#include <ATen/ATen.h>

#include <functional>

#include "simd/products.h"

namespace flowcache {

// n pictures of h x w pixels with c channels, in a tensor [n, h + 2, w + 2, c] whose outermost rows and
// columns are zero. A copy shares the memory, as with at::Tensor.
class Pictures {
 public:
  // Whether these convolutions run there: only on a CPU, in fp32 or bf16.
  static bool run_on(at::Device device, at::ScalarType type);

  Pictures() = default;
  // Pictures whose borders are zero and whose pixels are not set.
  Pictures(int64_t count, int64_t height, int64_t width, int64_t channels, at::ScalarType type);
  // From planes [n, c, h, w] of any strides, converted to `type`.
  static Pictures from(const at::Tensor& planes, at::ScalarType type);

  bool defined() const { return padded_.defined(); }
  int64_t count() const { return padded_.size(0); }
  int64_t height() const { return padded_.size(1) - 2; }
  int64_t width() const { return padded_.size(2) - 2; }
  int64_t channels() const { return padded_.size(3); }
  at::ScalarType type() const { return padded_.scalar_type(); }

  // A copy of one picture in memory of its own.
  Pictures copy_of(int64_t index) const;
  // One black picture of this size.
  Pictures black() const;

  // Where the channels of a pixel begin. row: -1..height(), column: -1..width().
  std::byte* at(int64_t index, int64_t row, int64_t column) const {
    return data_ + ((index * padded_.size(1) + row + 1) * padded_.size(2) + column + 1) * pixel_bytes_;
  }
  int64_t pixel_bytes() const { return pixel_bytes_; }

  // Calls work(index, row) for every row of every picture: on several threads, or inside a parallel section
  // on the calling thread alone.
  void for_rows(const std::function<void(int64_t index, int64_t row)>& work) const;

 private:
  explicit Pictures(at::Tensor padded);
  at::Tensor padded_;
  std::byte* data_ = nullptr;
  int64_t pixel_bytes_ = 0;
};

// A convolution that computes one row of results at a time. Its weight is laid out
// once. Immutable; any thread.
class PictureConvolution {
 public:
  PictureConvolution() = default;
  // weight [out, inputs * c, rows, columns] of any type, bias [out] or undefined. The convolution reads
  // `inputs` pictures of c channels each, whose channels follow each other in the weight. rows * inputs is at
  // most 64; for bf16 c is even.
  PictureConvolution(const at::Tensor& weight, const at::Tensor& bias, int64_t inputs, at::ScalarType type);

  int64_t out_channels() const { return size_.out; }

  struct Row {
    const Pictures* inputs[2];  // as many as the convolution was made for
    int64_t index[2];           // which picture of each
    int64_t row, column;        // of the pixel that the first result's first tap reads
    int64_t results;
    void* y;
    int64_t y_stride;              // numbers from one result to the next one
    const void* addend = nullptr;  // null, or [results, out] without gaps, added before the activation
    simd::Activation activation = simd::Activation::none;
  };
  void run(const Row& row) const;

 private:
  int64_t tap_rows_ = 0, tap_columns_ = 0, inputs_ = 0;
  simd::MatrixSize size_{};
  at::Tensor packed_, bias_;
};

}  // namespace flowcache
