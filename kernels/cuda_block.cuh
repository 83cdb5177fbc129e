// SPDX-License-Identifier: LGPL-2.1-or-later
// What the kernels for NVIDIA GPUs share. Only .cu files include it. It has nothing that a C++ compiler does not know, so
// that tests can compile the kernels for the host (tests/unit/cuda_on_host.h).
#pragma once

#include <cstdint>

namespace flowcache::cuda {

// bf16 is the upper half of a float. Done by hand, because cards before compute capability 8.0 know no bf16. Rounds
// to nearest even; NaN stays NaN.
using Bf16 = uint16_t;
__device__ inline float widened(Bf16 x) {
  return __uint_as_float(static_cast<uint32_t>(x) << 16);
}
__device__ inline Bf16 narrowed(float x) {
  const uint32_t bits = __float_as_uint(x);
  return static_cast<Bf16>(x == x ? (bits + 0x7fff + ((bits >> 16) & 1)) >> 16 : 0x7fc0);
}

// N neighbouring numbers, read and written at once.
template <typename T, int N>
struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Pack {
  T at[N];
};

template <int N>
__device__ inline Pack<float, N> load(const float* from) {
  return *reinterpret_cast<const Pack<float, N>*>(from);
}
template <int N>
__device__ inline Pack<float, N> load(const Bf16* from) {
  const auto narrow = *reinterpret_cast<const Pack<Bf16, N>*>(from);
  Pack<float, N> wide;
  for (int i = 0; i < N; ++i) wide.at[i] = widened(narrow.at[i]);
  return wide;
}
template <int N>
__device__ inline void store(float* to, const Pack<float, N>& values) {
  *reinterpret_cast<Pack<float, N>*>(to) = values;
}
template <int N>
__device__ inline void store(Bf16* to, const Pack<float, N>& values) {
  Pack<Bf16, N> narrow;
  for (int i = 0; i < N; ++i) narrow.at[i] = narrowed(values.at[i]);
  *reinterpret_cast<Pack<Bf16, N>*>(to) = narrow;
}

// Whether packs of N can be read at an address and at all others that are multiples of the stride away.
template <int N, typename T>
bool suits_packs(const T* at, int64_t stride) {
  return reinterpret_cast<uintptr_t>(at) % alignof(Pack<T, N>) == 0 && stride % N == 0;
}

// The sum over the threads of a block, for each of them. The block is one-dimensional, of whole warps. The order is
// fixed, so results repeat.
template <typename T>
__device__ T block_sum(T value) {
  __shared__ T of_warp[32];
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  __syncthreads();  // the sum before this one has been read
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  T sum = 0;
  for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) sum += of_warp[warp];
  return sum;
}

// The threads of a block that works on one row of so many packs: whole warps, at most 512.
inline unsigned threads_for(int64_t packs) {
  return packs >= 512 ? 512u : packs < 1 ? 32u : static_cast<unsigned>((packs + 31) / 32 * 32);
}

// Runs a kernel. A launch that fails leaves no error behind, which LibTorch would take for one of its own.
template <typename... Wanted, typename... Given>
int launch(void (*kernel)(Wanted...), dim3 grid, dim3 block, void* stream, Given... given) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.stream = static_cast<cudaStream_t>(stream);
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, given...);
  if (error != cudaSuccess) cudaGetLastError();
  return error;
}

}  // namespace flowcache::cuda
