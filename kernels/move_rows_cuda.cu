// SPDX-License-Identifier: LGPL-2.1-or-later
// Rows move in place: no second buffer, and one launch for all layers, keys and values. Slots ascend, so a row never
// moves backwards (slots[i] >= i). A block owns a strip of columns of one head and goes from the first row to the last:
// it reads a tile of rows, waits until all of them are read, and writes them. Whatever it overwrites lies in or before
// this tile, and was read.
#include "cuda_block.cuh"
#include "cuda_module.h"

namespace {

constexpr int lanes = 4;          // threads side by side in a row: strips of 64 bytes
constexpr int rows_at_once = 64;  // of a block
constexpr int rows_each = 4;      // that a thread holds

template <typename Lane>
__global__ void move_rows(fc_cuda_move_rows_args a) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * lanes + threadIdx.x % lanes;
  const int64_t plane = blockIdx.y / a.heads, head = blockIdx.y - plane * a.heads, layer = blockIdx.z;
  const int64_t row_lanes = a.row_bytes / static_cast<int64_t>(sizeof(Lane));
  const bool inside = column < row_lanes;
  Lane* rows = reinterpret_cast<Lane*>(static_cast<char*>(a.base) + layer * a.layer_bytes +
                                       plane * a.plane_bytes + head * a.head_bytes) +
               column;
  const int32_t* slots = a.slots + (layer * a.slot_heads + (a.slot_heads == 1 ? 0 : head)) * a.kept;
  const int64_t count = a.kept + a.tail;
  for (int64_t tile = 0; tile < count; tile += rows_at_once * rows_each) {
    Lane held[rows_each];
    bool moves[rows_each];
    for (int i = 0; i < rows_each; ++i) {
      const int64_t to = tile + i * rows_at_once + threadIdx.x / lanes;
      const int64_t from = to < a.kept ? slots[to] : a.used + to - a.kept;
      moves[i] = inside && to < count && from != to;
      if (moves[i]) held[i] = rows[from * row_lanes];
    }
    __syncthreads();
    for (int i = 0; i < rows_each; ++i) {
      const int64_t to = tile + i * rows_at_once + threadIdx.x / lanes;
      if (moves[i]) rows[to * row_lanes] = held[i];
    }
  }
}

struct alignas(16) Line {
  uint32_t at[4];
};

template <typename Lane>
bool suits(const fc_cuda_move_rows_args& a) {
  const auto whole = [](int64_t bytes) { return bytes % static_cast<int64_t>(sizeof(Lane)) == 0; };
  return whole(static_cast<int64_t>(reinterpret_cast<uintptr_t>(a.base))) && whole(a.layer_bytes) &&
         whole(a.plane_bytes) && whole(a.head_bytes) && whole(a.row_bytes);
}

template <typename Lane>
int run(const fc_cuda_move_rows_args& a, void* stream) {
  const int64_t row_lanes = a.row_bytes / static_cast<int64_t>(sizeof(Lane));
  const dim3 grid(static_cast<unsigned>((row_lanes + lanes - 1) / lanes),
                  static_cast<unsigned>(a.planes * a.heads), static_cast<unsigned>(a.layers));
  return flowcache::cuda::launch(move_rows<Lane>, grid, dim3(lanes * rows_at_once), stream, a);
}

}  // namespace

int fc_cuda_move_rows(const fc_cuda_move_rows_args* args, void* stream) {
  const fc_cuda_move_rows_args& a = *args;
  if (a.kept + a.tail == 0 || a.layers * a.planes * a.heads * a.row_bytes == 0) return 0;
  if (suits<Line>(a)) return run<Line>(a, stream);
  return suits<uint32_t>(a) ? run<uint32_t>(a, stream) : run<uint8_t>(a, stream);
}
