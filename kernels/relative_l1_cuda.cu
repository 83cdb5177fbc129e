// SPDX-License-Identifier: LGPL-2.1-or-later
// Two launches: each block sums its share, and one block sums the shares. The number of blocks follows from the number of
// elements alone, so every card gives the same sums.
#include "cuda_block.cuh"
#include "cuda_module.h"

namespace {

using namespace flowcache::cuda;

constexpr unsigned threads = 256;

template <typename T>
__global__ void sum_shares(int64_t n, const T* cur, const T* prev, double* shares) {
  double difference = 0, magnitude = 0;
  const int64_t step = static_cast<int64_t>(gridDim.x) * threads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x; i < n; i += step) {
    const float before = load<1>(prev + i).at[0];
    difference += static_cast<double>(fabsf(load<1>(cur + i).at[0] - before));
    magnitude += static_cast<double>(fabsf(before));
  }
  difference = block_sum(difference);
  magnitude = block_sum(magnitude);
  if (threadIdx.x == 0) {
    shares[2 * blockIdx.x] = difference;
    shares[2 * blockIdx.x + 1] = magnitude;
  }
}

__global__ void sum_of_shares(unsigned count, const double* shares, double* sums) {
  double difference = 0, magnitude = 0;
  for (unsigned i = threadIdx.x; i < count; i += threads) {
    difference += shares[2 * i];
    magnitude += shares[2 * i + 1];
  }
  difference = block_sum(difference);
  magnitude = block_sum(magnitude);
  if (threadIdx.x == 0) {
    sums[0] = difference;
    sums[1] = magnitude;
  }
}

template <typename T>
int run(const fc_cuda_relative_l1_args& a, void* stream) {
  const int64_t wanted = (a.n + threads - 1) / threads;
  const auto blocks = static_cast<unsigned>(wanted < FC_CUDA_L1_BLOCKS ? wanted : FC_CUDA_L1_BLOCKS);
  double* shares = a.sums + 2;
  const int error = launch(sum_shares<T>, dim3(blocks), dim3(threads), stream, a.n,
                           static_cast<const T*>(a.cur), static_cast<const T*>(a.prev), shares);
  return error ? error : launch(sum_of_shares, dim3(1), dim3(threads), stream, blocks, shares, a.sums);
}

}  // namespace

int fc_cuda_relative_l1(const fc_cuda_relative_l1_args* args, void* stream) {
  if (args->n < 1) return cudaErrorInvalidValue;
  return args->is_bf16 ? run<Bf16>(*args, stream) : run<float>(*args, stream);
}
