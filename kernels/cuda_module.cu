// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cuda_module.h"

int fc_cuda_kernels_version(void) {
  return FC_CUDA_KERNELS_VERSION;
}
