// SPDX-License-Identifier: LGPL-2.1-or-later
// The module with the kernels for NVIDIA GPUs (cuda_module.h). It is opened when it is first needed.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>

#include "cuda_module.h"

namespace flowcache {

struct CudaKernels {
  fc_cuda_color_convert_function color_convert;
  fc_cuda_color_read_function color_read;
  fc_cuda_norm_modulate_function norm_modulate;
  fc_cuda_gated_add_function gated_add;
  fc_cuda_rms_norm_rope_function rms_norm_rope;
  fc_cuda_move_rows_function move_rows;
  fc_cuda_relative_l1_function relative_l1;

  // The module, opened at the first call. It is looked for where $FLOWCACHE_CUDA_KERNELS says, if that is
  // set; else beside this library, in ../kernels (a build folder), and where the loader looks. Throws
  // FC_ERROR_DEVICE with all places and why each failed. Any thread.
  static const CudaKernels& get();
  // The same for work that LibTorch's operators can do, too: null where there is no module, which the log then
  // says once.
  static const CudaKernels* find();
};

// The way of a tensor's work to the module. While it lives, the tensor's device is the current one.
//   if (const CudaCall cuda(x); cuda && cuda.ran(cuda->gated_add(&args, cuda.stream()))) return;
class CudaCall {
 public:
  // False if the tensor is not on an NVIDIA GPU, or if there are no kernels for it.
  explicit CudaCall(const at::Tensor& on);
  explicit operator bool() const { return kernels_ != nullptr; }
  const CudaKernels* operator->() const { return kernels_; }
  void* stream() const;  // LibTorch's current one on this device
  // Whether a kernel was launched: `error` is what it returned. False if the module has no code for this card:
  // the log says so once, and from then on every CudaCall is false. Throws FC_ERROR_DEVICE for other errors.
  bool ran(int error) const;

 private:
  at::Device device_;
  const CudaKernels* kernels_;
  c10::OptionalDeviceGuard guard_;
};

// Whether a module can read a tensor's rows: of a type that it knows, with numbers that follow each other.
inline bool has_plain_rows(const at::Tensor& x) {
  return (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) && x.stride(-1) == 1;
}

}  // namespace flowcache
