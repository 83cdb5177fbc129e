// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/decoders/picture.h"

#include <ATen/Parallel.h>

#include "number_type.h"
#include "thread_scratch.h"

namespace flowcache {

bool Pictures::run_on(at::Device device, at::ScalarType type) {
  return device.is_cpu() && (type == at::kFloat || type == at::kBFloat16);
}

Pictures::Pictures(at::Tensor padded)
    : padded_(std::move(padded)),
      data_(static_cast<std::byte*>(padded_.mutable_data_ptr())),
      pixel_bytes_(padded_.size(3) * padded_.element_size()) {}

Pictures::Pictures(int64_t count, int64_t height, int64_t width, int64_t channels, at::ScalarType type)
    : Pictures(at::empty({count, height + 2, width + 2, channels}, at::TensorOptions().dtype(type))) {
  for (const int64_t dim : {1, 2})
    for (const int64_t edge : {int64_t{0}, padded_.size(dim) - 1}) padded_.select(dim, edge).zero_();
}

Pictures Pictures::from(const at::Tensor& planes, at::ScalarType type) {
  Pictures out(planes.size(0), planes.size(2), planes.size(3), planes.size(1), type);
  out.padded_.narrow(1, 1, out.height()).narrow(2, 1, out.width()).copy_(planes.permute({0, 2, 3, 1}));
  return out;
}

Pictures Pictures::copy_of(int64_t index) const {
  return Pictures(padded_.narrow(0, index, 1).clone());
}

Pictures Pictures::black() const {
  return Pictures(at::zeros_like(padded_.narrow(0, 0, 1)));
}

void Pictures::for_rows(const std::function<void(int64_t index, int64_t row)>& work) const {
  constexpr int64_t fewest_pixels = 512;  // that are worth a thread
  const int64_t rows = height();
  at::parallel_for(0, count() * rows, std::max<int64_t>(1, fewest_pixels / width()),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) work(i / rows, i % rows);
                   });
}

PictureConvolution::PictureConvolution(const at::Tensor& weight, const at::Tensor& bias, int64_t inputs,
                                       at::ScalarType type)
    : tap_rows_(weight.size(2)), tap_columns_(weight.size(3)), inputs_(inputs) {
  // In the order in which run() reads the numbers: tap row, input, tap column, channel.
  const int64_t out = weight.size(0), channels = weight.size(1) / inputs;
  const at::Tensor matrix = weight.to(at::kCPU, type)
                                .view({out, inputs, channels, tap_rows_, tap_columns_})
                                .permute({0, 3, 1, 4, 2})
                                .reshape({out, -1})
                                .contiguous();
  size_ = {matrix.size(1), out, number_type(type, channels)};
  packed_ = at::empty({simd::packed_bytes(size_) / matrix.element_size()}, matrix.options());
  simd::pack(size_, matrix.const_data_ptr(), packed_.mutable_data_ptr());
  if (bias.defined()) bias_ = bias.to(at::kCPU, at::kFloat).contiguous();
}

void PictureConvolution::run(const Row& row) const {
  std::array<simd::Segment, 64> segments;
  size_t count = 0;
  const int64_t channels = row.inputs[0]->channels();
  for (int64_t tap = 0; tap < tap_rows_; ++tap)
    for (int64_t i = 0; i < inputs_; ++i)
      segments[count++] = {row.inputs[i]->at(row.index[i], row.row + tap, row.column),
                           tap_columns_ * channels};
  simd::multiply({.size = size_,
                  .packed = packed_.const_data_ptr(),
                  .bias = bias_.defined() ? bias_.const_data_ptr<float>() : nullptr,
                  .addend = row.addend,
                  .addend_stride = size_.out,
                  .activation = row.activation,
                  .segments = segments.data(),
                  .segment_count = static_cast<int64_t>(count),
                  .row_stride = channels,
                  .rows = row.results,
                  .y = row.y,
                  .y_stride = row.y_stride,
                  .scratch = thread_scratch(simd::product_scratch(size_))});
}

}  // namespace flowcache
