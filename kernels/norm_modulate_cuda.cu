// SPDX-License-Identifier: LGPL-2.1-or-later
// One block for each row. A row has a few kilobytes and is read again from the cache.
#include "cuda_block.cuh"
#include "cuda_module.h"

namespace {

using namespace flowcache::cuda;

__device__ int64_t group_of(const fc_cuda_groups& groups, int64_t row) {
  return (groups.first_row + row) / groups.rows_per_group;
}

template <int N, typename Out>
__global__ void norm_modulate(fc_cuda_norm_modulate_args a) {
  const int64_t row = blockIdx.x, first = static_cast<int64_t>(threadIdx.x) * N,
                step = static_cast<int64_t>(blockDim.x) * N;
  const float* x = a.x + row * a.x_stride;
  float sum = 0;
  for (int64_t i = first; i < a.dim; i += step) {
    const auto values = load<N>(x + i);
    for (int j = 0; j < N; ++j) sum += values.at[j];
  }
  const float mean = block_sum(sum) / static_cast<float>(a.dim);
  float square = 0;
  for (int64_t i = first; i < a.dim; i += step) {
    const auto values = load<N>(x + i);
    for (int j = 0; j < N; ++j) square += (values.at[j] - mean) * (values.at[j] - mean);
  }
  const float rate = 1.f / sqrtf(block_sum(square) / static_cast<float>(a.dim) + a.eps);
  const int64_t group = group_of(a.groups, row);
  const float* multiplier = a.multiplier + group * a.multiplier_stride;
  const float* offset = a.offset + group * a.offset_stride;
  Out* out = static_cast<Out*>(a.out) + row * a.dim;
  for (int64_t i = first; i < a.dim; i += step) {
    auto values = load<N>(x + i);
    const auto m = load<N>(multiplier + i), o = load<N>(offset + i);
    for (int j = 0; j < N; ++j) values.at[j] = (values.at[j] - mean) * rate * m.at[j] + o.at[j];
    store<N>(out + i, values);
  }
}

template <int N, typename Y>
__global__ void gated_add(fc_cuda_gated_add_args a) {
  const int64_t row = blockIdx.x, step = static_cast<int64_t>(blockDim.x) * N;
  float* x = a.x + row * a.x_stride;
  const Y* y = static_cast<const Y*>(a.y) + row * a.y_stride;
  const float* gate = a.gate ? a.gate + group_of(a.groups, row) * a.gate_stride : nullptr;
  for (int64_t i = static_cast<int64_t>(threadIdx.x) * N; i < a.dim; i += step) {
    auto values = load<N>(x + i);
    const auto more = load<N>(y + i);
    if (gate) {
      const auto g = load<N>(gate + i);
      for (int j = 0; j < N; ++j) values.at[j] += more.at[j] * g.at[j];
    } else {
      for (int j = 0; j < N; ++j) values.at[j] += more.at[j];
    }
    store<N>(x + i, values);
  }
}

template <typename Out>
int norm_rows(const fc_cuda_norm_modulate_args& a, void* stream) {
  const bool packs = a.dim % 4 == 0 && suits_packs<4>(a.x, a.x_stride) &&
                     suits_packs<4>(a.multiplier, a.multiplier_stride) &&
                     suits_packs<4>(a.offset, a.offset_stride) &&
                     suits_packs<4>(static_cast<Out*>(a.out), a.dim);
  const dim3 grid(static_cast<unsigned>(a.rows)), block(threads_for(packs ? a.dim / 4 : a.dim));
  return packs ? launch(norm_modulate<4, Out>, grid, block, stream, a)
               : launch(norm_modulate<1, Out>, grid, block, stream, a);
}

template <typename Y>
int add_rows(const fc_cuda_gated_add_args& a, void* stream) {
  const bool packs = a.dim % 4 == 0 && suits_packs<4>(a.x, a.x_stride) &&
                     suits_packs<4>(static_cast<const Y*>(a.y), a.y_stride) &&
                     suits_packs<4>(a.gate, a.gate_stride);
  const dim3 grid(static_cast<unsigned>(a.rows)), block(threads_for(packs ? a.dim / 4 : a.dim));
  return packs ? launch(gated_add<4, Y>, grid, block, stream, a)
               : launch(gated_add<1, Y>, grid, block, stream, a);
}

}  // namespace

int fc_cuda_norm_modulate(const fc_cuda_norm_modulate_args* args, void* stream) {
  if (args->rows == 0 || args->dim == 0) return 0;
  return args->out_is_bf16 ? norm_rows<Bf16>(*args, stream) : norm_rows<float>(*args, stream);
}

int fc_cuda_gated_add(const fc_cuda_gated_add_args* args, void* stream) {
  if (args->rows == 0 || args->dim == 0) return 0;
  return args->y_is_bf16 ? add_rows<Bf16>(*args, stream) : add_rows<float>(*args, stream);
}
