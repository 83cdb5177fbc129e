// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cudnn.h"

#include <ATen/ATen.h>
#include <ATen/native/ConvUtils.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <torch/library.h>

#include "fake_gpu.h"

namespace fake_gpu_test {
namespace {

at::Tensor convolution(const at::Tensor& input, const at::Tensor& weight, at::IntArrayRef padding,
                       at::IntArrayRef stride, at::IntArrayRef dilation, int64_t, bool, bool, bool) {
  static const auto count =
      reinterpret_cast<decltype(&fake_gpu_count_launch)>(dlsym(RTLD_DEFAULT, "fake_gpu_count_launch"));
  const auto sizes = at::native::conv_output_size(input.sizes(), weight.sizes(), padding, stride, dilation);
  const at::MemoryFormat layout = at::native::cudnn_conv_suggest_memory_format(input, weight);
  // What LibTorch does before it calls cuDNN; a copy is launched where the layout differs.
  const at::Tensor x = input.contiguous(layout), w = weight.contiguous(layout);
  const c10::Stream stream = c10::impl::VirtualGuardImpl(c10::kCUDA).getStream(input.device());
  count("cuDNN convolution", stream.native_handle());
  return at::empty(sizes, input.options().memory_format(layout));
}

}  // namespace

void refuse_cudnn() {
  at::globalContext().setUserEnabledCuDNN(false);
  at::globalContext().setSDPUseCuDNN(false);
}

void use_cudnn() {
  static const bool once = [] {
    static torch::Library library(torch::Library::IMPL, "aten", c10::DispatchKey::CUDA, __FILE__, __LINE__);
    library.impl("cudnn_convolution", convolution);
    return true;
  }();
  at::globalContext().setUserEnabledCuDNN(once);
}

}  // namespace fake_gpu_test
