// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/linear.h"

#include <ATen/Parallel.h>

#include "base/interruption.h"
#include "base/process_end.h"
#include "number_type.h"
#include "thread_scratch.h"

namespace flowcache {
namespace {

bool can_pack(Precision precision, at::Device device) {
  return device.is_cpu() && precision.weights == precision.compute &&
         (precision.compute == at::kFloat || precision.compute == at::kBFloat16);
}

}  // namespace

Linear::Linear(const at::Tensor& weight, const at::Tensor& bias, Precision precision, at::Device device)
    : out_(weight.size(0)), packed_(can_pack(precision, device)) {
  stop_at_process_end();
  stop_if_asked();
  if (bias.defined())
    bias_ = bias.to(device, packed_ ? at::kFloat : precision.compute, false, true).contiguous();
  if (!packed_) {
    weight_ = Matrix(weight, precision, device);
    return;
  }
  size_ = {weight.size(1), out_, number_type(precision.compute, weight.size(1))};
  weight_.values =
      at::empty({simd::packed_bytes(size_) / static_cast<int64_t>(c10::elementSize(precision.compute))},
                at::TensorOptions(precision.compute));
  const at::Tensor source =
      weight.to(precision.compute).contiguous();  // where it is that already, the weight itself
  simd::pack(size_, source.const_data_ptr(), weight_.values.mutable_data_ptr());
}

at::Tensor Linear::run_packed(const at::Tensor& rows, Activation activation) const {
  const at::Tensor x = rows.stride(1) == 1 ? rows : rows.contiguous();
  const at::Tensor y = at::empty({x.size(0), out_}, x.options());
  const int64_t element = x.element_size();
  constexpr int64_t fewest_rows = 64;  // that are worth a thread of their own
  at::parallel_for(0, x.size(0), fewest_rows, [&](int64_t begin, int64_t end) {
    const simd::Segment whole{
        static_cast<const std::byte*>(x.const_data_ptr()) + begin * x.stride(0) * element, size_.in};
    simd::multiply({.size = size_,
                    .packed = weight_.values.const_data_ptr(),
                    .bias = bias_.defined() ? bias_.const_data_ptr<float>() : nullptr,
                    .activation = activation,
                    .segments = &whole,
                    .segment_count = 1,
                    .row_stride = x.stride(0),
                    .rows = end - begin,
                    .y = static_cast<std::byte*>(y.mutable_data_ptr()) + begin * out_ * element,
                    .y_stride = out_,
                    .scratch = thread_scratch(simd::product_scratch(size_))});
  });
  return y;
}

at::Tensor Linear::operator()(const at::Tensor& x, Activation activation) const {
  stop_if_asked();
  return packed_ ? run_packed(x, activation) : weight_.product(x, bias_, activation);
}

}  // namespace flowcache
