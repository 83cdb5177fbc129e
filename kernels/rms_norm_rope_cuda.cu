// SPDX-License-Identifier: LGPL-2.1-or-later
// One block for each row, all heads together, as the norm is over all of them.
#include "cuda_block.cuh"
#include "cuda_module.h"

namespace {

using namespace flowcache::cuda;

// Pairs lie anywhere, larger packs where they can be read at once.
template <int N, typename T>
__device__ Pack<float, N> read(const T* from) {
  if constexpr (N > 2) {
    return load<N>(from);
  } else {
    Pack<float, N> values;
    for (int j = 0; j < N; ++j) values.at[j] = load<1>(from + j).at[0];
    return values;
  }
}
template <int N, typename T>
__device__ void write(T* to, const Pack<float, N>& values) {
  if constexpr (N > 2) {
    store<N>(to, values);
  } else {
    for (int j = 0; j < N; ++j) store<1>(to + j, Pack<float, 1>{values.at[j]});
  }
}

// N: a whole number of pairs that divides head_dim.
template <int N, typename T>
__global__ void rms_norm_rope(fc_cuda_rms_norm_rope_args a) {
  const int64_t row = blockIdx.x, token = a.first_row + row, width = a.heads * a.head_dim;
  const int64_t first = static_cast<int64_t>(threadIdx.x) * N, step = static_cast<int64_t>(blockDim.x) * N;
  const T* x = static_cast<const T*>(a.x) + row * a.x_stride;
  float rate = 1;
  if (a.weight) {
    float square = 0;
    for (int64_t i = first; i < width; i += step) {
      const auto values = read<N>(x + i);
      for (int j = 0; j < N; ++j) square += values.at[j] * values.at[j];
    }
    rate = 1.f / sqrtf(block_sum(square) / static_cast<float>(width) + a.eps);
  }
  T* out = static_cast<T*>(a.out) + token * a.out_row_stride;
  for (int64_t i = first; i < width; i += step) {
    const unsigned head = static_cast<unsigned>(i) / static_cast<unsigned>(a.head_dim);
    const int64_t column = i - head * a.head_dim;
    auto values = read<N>(x + i);
    if (a.weight) {
      const auto weight = read<N>(a.weight + i);
      for (int j = 0; j < N; ++j) values.at[j] = values.at[j] * rate * weight.at[j];
    }
    if (a.cos) {
      const auto cos = read<N / 2>(a.cos + token * a.cos_stride + column / 2);
      const auto sin = read<N / 2>(a.sin + token * a.sin_stride + column / 2);
      for (int j = 0; j < N / 2; ++j) {
        const float even = values.at[2 * j], odd = values.at[2 * j + 1];
        values.at[2 * j] = even * cos.at[j] - odd * sin.at[j];
        values.at[2 * j + 1] = even * sin.at[j] + odd * cos.at[j];
      }
    }
    write<N>(out + head * a.out_head_stride + column, values);
  }
}

template <int N, typename T>
bool packs_of(const fc_cuda_rms_norm_rope_args& a) {
  const T* out = static_cast<const T*>(a.out);
  return a.head_dim % N == 0 && suits_packs<N>(static_cast<const T*>(a.x), a.x_stride) &&
         suits_packs<N>(a.weight, 0) && suits_packs<N / 2>(a.cos, a.cos_stride) &&
         suits_packs<N / 2>(a.sin, a.sin_stride) && suits_packs<N>(out, a.out_head_stride) &&
         suits_packs<N>(out, a.out_row_stride);
}

// 16 bytes at once, or pair by pair.
template <typename T>
int run(const fc_cuda_rms_norm_rope_args& a, void* stream) {
  constexpr int most = 16 / sizeof(T);
  const int64_t width = a.heads * a.head_dim;
  const dim3 grid(static_cast<unsigned>(a.rows));
  if (packs_of<most, T>(a))
    return launch(rms_norm_rope<most, T>, grid, dim3(threads_for(width / most)), stream, a);
  return launch(rms_norm_rope<2, T>, grid, dim3(threads_for(width / 2)), stream, a);
}

}  // namespace

int fc_cuda_rms_norm_rope(const fc_cuda_rms_norm_rope_args* args, void* stream) {
  if (args->rows == 0) return 0;
  if (args->head_dim % 2 != 0) return cudaErrorInvalidValue;
  return args->is_bf16 ? run<Bf16>(*args, stream) : run<float>(*args, stream);
}
