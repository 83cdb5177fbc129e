// SPDX-License-Identifier: LGPL-2.1-or-later
// Products of bf16 in the tiles of AMX, for attention and products; brings vectors-inl.h along. Included once for each
// instruction set, inside its namespace.
//
// A tile is 16 rows of 16 steps of 32 bits. One instruction adds the product of a tile of pairs [row][step] and a
// tile of pairs [step][column] to a tile of sums [row][column]: 8,192 products.
#include "simd/vectors-inl.h"

constexpr int64_t tile_rows = 16, tile_steps = 16;
HWY_INLINE int64_t whole_tiles(int64_t steps) {
  return (steps + tile_steps - 1) / tile_steps * tile_steps;
}

#if FC_BF16_INSTRUCTIONS
// While one lives, this thread has eight tiles of full size.
class Tiles {
 public:
  Tiles() {
    struct alignas(64) Shape {
      uint8_t palette, start_row, reserved[14];
      uint16_t row_bytes[16];
      uint8_t rows[16];
    } shape = {};
    shape.palette = 1;
    for (int i = 0; i < 8; ++i) shape.row_bytes[i] = 4 * tile_steps, shape.rows[i] = tile_rows;
    asm volatile("ldtilecfg %0" ::"m"(shape));
  }
  ~Tiles() { asm volatile("tilerelease" ::); }
  Tiles(const Tiles&) = delete;
};

// The first four tiles are sums, the next two rows of the left matrix, the last two columns of the right one.
template <int tile>
HWY_INLINE void tile_load(const float* from, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(4 * stride), "i"(tile) : "memory");
}
template <int tile>
HWY_INLINE void tile_store(float* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(4 * stride), "i"(tile) : "memory");
}
template <int sums, int left, int right>
HWY_INLINE void tile_multiply() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sums), "i"(left), "i"(right));
}
template <int tile>
HWY_INLINE void tile_zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(tile));
}

// Tiles of sums: `high` of them one below the other, `wide` side by side, at most four; number row * wide + column.
template <int high, int wide, int sum = 0>
HWY_INLINE void zero_sums() {
  tile_zero<sum>();
  if constexpr (sum + 1 < high * wide) zero_sums<high, wide, sum + 1>();
}
template <int high, int wide, int sum = 0>
HWY_INLINE void load_sums(const float* from, int64_t stride) {
  tile_load<sum>(from + sum / wide * tile_rows * stride + sum % wide * tile_steps, stride);
  if constexpr (sum + 1 < high * wide) load_sums<high, wide, sum + 1>(from, stride);
}
template <int high, int wide, int sum = 0>
HWY_INLINE void store_sums(float* to, int64_t stride) {
  tile_store<sum>(to + sum / wide * tile_rows * stride + sum % wide * tile_steps, stride);
  if constexpr (sum + 1 < high * wide) store_sums<high, wide, sum + 1>(to, stride);
}

// Adds the products of one tile of steps. Each tile of the left matrix stays for a row of sums.
template <int high, int wide, int sum = 0>
HWY_INLINE void add_products(const float* a, int64_t a_stride, const float* b, int64_t b_stride) {
  constexpr int row = sum / wide, column = sum % wide, left = 4 + row % 2, right = 6 + column % 2;
  if constexpr (column == 0) tile_load<left>(a + row * tile_rows * a_stride, a_stride);
  if constexpr (row == 0 || wide > 2) tile_load<right>(b + column * tile_steps, b_stride);
  tile_multiply<sum, left, right>();
  if constexpr (sum + 1 < high * wide) add_products<high, wide, sum + 1>(a, a_stride, b, b_stride);
}

// The same for `count` rows and `steps` steps of the left matrix, fewer than fill the tiles: the rest is zero.
template <int high, int wide>
HWY_INLINE void add_edge(const float* a, int64_t a_stride, int64_t count, int64_t steps, const float* b,
                         int64_t b_stride) {
  const Tag d;
  HWY_ALIGN float edge[high * tile_rows * tile_steps];
  const auto there = hn::FirstN(d, static_cast<size_t>(steps));
  for (int64_t r = 0; r < high * tile_rows; ++r)
    hn::Store(r < count ? hn::MaskedLoad(there, d, a + r * a_stride) : hn::Zero(d), d, edge + r * tile_steps);
  add_products<high, wide>(edge, tile_steps, b, b_stride);
}

// Adds the products of `count` rows, at most as many as the tiles have, and all steps. The last tile of steps of b is read
// whole: numbers behind the last step must be there, and be no NaN.
template <int high, int wide>
HWY_INLINE void add_tiles(const float* a, int64_t a_stride, int64_t count, int64_t steps, const float* b,
                          int64_t b_stride) {
  for (; steps > 0; steps -= tile_steps, a += tile_steps, b += tile_steps * b_stride)
    if (steps >= tile_steps && count == high * tile_rows)
      add_products<high, wide>(a, a_stride, b, b_stride);
    else
      add_edge<high, wide>(a, a_stride, count, lesser(steps, tile_steps), b, b_stride);
}
#endif
