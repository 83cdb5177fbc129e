// SPDX-License-Identifier: LGPL-2.1-or-later
// The kernels for NVIDIA GPUs, compiled for the host.
#include "cuda_kernels_on_host.h"

// nvcc reads its own header before a .cu file, and so its stand-in comes first.
// clang-format off
#include "cuda_on_host.h"
// clang-format on

#include "color_convert_cuda.cu"
#include "cuda_module.cu"
#include "move_rows_cuda.cu"
#include "norm_modulate_cuda.cu"
#include "relative_l1_cuda.cu"
#include "rms_norm_rope_cuda.cu"

namespace {

// Only half of a warp comes to where all of it is waited for.
__global__ void wait_apart() {
  if (threadIdx.x % 2 == 0) block_sum(1.f);
}

// Thread i takes the number of thread i + 1, with or without waiting until it is there.
__global__ void take_from_next(int* numbers, bool waits) {
  __shared__ int shared[64];
  shared[threadIdx.x] = -1;
  __syncthreads();
  shared[threadIdx.x] = static_cast<int>(threadIdx.x);
  if (waits) __syncthreads();
  numbers[threadIdx.x] = shared[(threadIdx.x + 1) % 64];
}

}  // namespace

void run_threads_backwards(bool backwards) {
  cuda_on_host::backwards = backwards;
}

int launch_threads_that_wait_apart() {
  return flowcache::cuda::launch(wait_apart, dim3(1), dim3(64), nullptr);
}

int launch_taking_from_next(int* numbers, bool waits) {
  return flowcache::cuda::launch(take_from_next, dim3(1), dim3(64), nullptr, numbers, waits);
}
