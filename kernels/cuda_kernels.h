// SPDX-License-Identifier: LGPL-2.1-or-later
// The module of kernels for NVIDIA GPUs (color_convert_cuda.h), opened when it is first needed.
#pragma once

#include "color_convert_cuda.h"

namespace flowcache {

struct CudaKernels {
  fc_cuda_color_convert_function color_convert;

  // Any thread; opened once. Looked for where $FLOWCACHE_CUDA_KERNELS says if it is set; else beside this
  // library, in ../kernels (a build folder), and where the loader looks. FC_ERROR_DEVICE lists the places and
  // why none would do.
  static const CudaKernels& get();
};

}  // namespace flowcache
