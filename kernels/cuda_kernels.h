// SPDX-License-Identifier: LGPL-2.1-or-later
// The module with the kernels for NVIDIA GPUs (color_convert_cuda.h). It is opened when it is first needed.
#pragma once

#include "color_convert_cuda.h"

namespace flowcache {

struct CudaKernels {
  fc_cuda_color_convert_function color_convert;

  // The module, opened at the first call. It is looked for where $FLOWCACHE_CUDA_KERNELS says, if that is
  // set; else beside this library, in ../kernels (a build folder), and where the loader looks. Throws
  // FC_ERROR_DEVICE with all places and why each failed. Any thread.
  static const CudaKernels& get();
};

}  // namespace flowcache
