// SPDX-License-Identifier: LGPL-2.1-or-later
// One head of attention on raw memory. Google Highway compiles this file once for each instruction set and
// picks one at run time.
//
// Scores are transposed: a vector holds the scores of several queries for one key. Keys and values are read
// as they lie in the cache, one number at a time; only the queries, which are few, are laid out anew. Each
// lane belongs to one query, so the softmax needs no sum across a vector.
//
// fp32 and bf16 share the code. A "step" multiplies 32 bits by 32 bits: one float, or two bf16 whose products
// are added (AVX512-BF16). Where that is no gain, keys and values in bf16 are widened to fp32, one block at a
// time. Tiles (AMX) take the same layouts, but for values, which they need a row for each dimension.
#include "simd/attention.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/attention.cpp"
#include "simd/targets-inl.h"

HWY_BEFORE_NAMESPACE();
namespace flowcache::simd {
namespace HWY_NAMESPACE {
namespace {

#include "simd/bf16-inl.h"
#include "simd/tiles-inl.h"

// How many keys' scores are held at once. With fewer, sums would be loaded and stored too often.
constexpr int64_t key_block = 192;
constexpr int64_t most_rows = 128;  // queries whose state is held at once
constexpr float log2_e = 1.44269504f;

// c[r][:] = sum over steps s of a[r * row + s * step] * b[s][:], or this is added to c, for four rows or for
// one. b and c are `vectors` vectors wide, without gaps.
template <bool pairs, int vectors, int rows>
HWY_INLINE void tile(const float* HWY_RESTRICT a, int64_t row, int64_t step, const float* HWY_RESTRICT b,
                     int64_t steps, float* HWY_RESTRICT c, bool add) {
  const Tag d;
  const int64_t width = vectors * static_cast<int64_t>(hn::Lanes(d));
  const V zero = hn::Zero(d);
  V p0 = zero, p1 = zero, p2 = zero, p3 = zero, q0 = zero, q1 = zero, q2 = zero, q3 = zero;
  V r0 = zero, r1 = zero, r2 = zero, r3 = zero, s0 = zero, s1 = zero, s2 = zero, s3 = zero;
  if (add) {
    load<vectors>(c, p0, p1, p2, p3);
    if constexpr (rows > 1) {
      load<vectors>(c + width, q0, q1, q2, q3);
      load<vectors>(c + 2 * width, r0, r1, r2, r3);
      load<vectors>(c + 3 * width, s0, s1, s2, s3);
    }
  }
  for (int64_t i = 0; i < steps; ++i, a += step, b += width) {
    V b0 = zero, b1 = zero, b2 = zero, b3 = zero;
    load<vectors>(b, b0, b1, b2, b3);
    add_row<pairs, vectors>(a[0], b0, b1, b2, b3, p0, p1, p2, p3);
    if constexpr (rows > 1) {
      add_row<pairs, vectors>(a[row], b0, b1, b2, b3, q0, q1, q2, q3);
      add_row<pairs, vectors>(a[2 * row], b0, b1, b2, b3, r0, r1, r2, r3);
      add_row<pairs, vectors>(a[3 * row], b0, b1, b2, b3, s0, s1, s2, s3);
    }
  }
  store<vectors>(p0, p1, p2, p3, c);
  if constexpr (rows > 1) {
    store<vectors>(q0, q1, q2, q3, c + width);
    store<vectors>(r0, r1, r2, r3, c + 2 * width);
    store<vectors>(s0, s1, s2, s3, c + 3 * width);
  }
}

template <bool pairs, int vectors>
HWY_NOINLINE void multiply(const float* a, int64_t row, int64_t step, const float* b, int64_t steps, float* c,
                           int64_t rows, bool add) {
  const int64_t width = vectors * static_cast<int64_t>(hn::Lanes(Tag()));
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) tile<pairs, vectors, 4>(a + r * row, row, step, b, steps, c + r * width, add);
  for (; r < rows; ++r) tile<pairs, vectors, 1>(a + r * row, row, step, b, steps, c + r * width, add);
}

// One block of keys and values in the form that multiply() takes.
struct Block {
  const float *k, *v;
  int64_t k_row, v_row;  // in steps of keys, in steps of values
  int64_t keys;
};

// The state of up to four vectors of queries while keys are read. Matrices are [row][vectors][lanes].
struct Group {
  int64_t first, count;  // queries, counted from the head's first
  int vectors;
  float *queries, *out, *most, *sum;
};

template <int vectors>
HWY_INLINE void shrink(float* at, V r0, V r1, V r2, V r3) {
  V v0 = r0, v1 = r1, v2 = r2, v3 = r3;
  load<vectors>(at, v0, v1, v2, v3);
  store<vectors>(hn::Mul(v0, r0), hn::Mul(v1, r1), hn::Mul(v2, r2), hn::Mul(v3, r3), at);
}

// Turns scores into weights relative to the largest score so far. If that has grown, what was
// summed before shrinks accordingly.
template <bool pairs, int vectors>
HWY_NOINLINE void soften(const Group& group, float factor, int64_t dim, int64_t keys, float* scores) {
  const Tag d;
  const int64_t width = vectors * static_cast<int64_t>(hn::Lanes(d));
  const V scale = hn::Set(d, factor), zero = hn::Zero(d);
  V m0 = zero, m1 = zero, m2 = zero, m3 = zero, o0 = zero, o1 = zero, o2 = zero, o3 = zero;
  load<vectors>(group.most, o0, o1, o2, o3);
  m0 = o0, m1 = o1, m2 = o2, m3 = o3;
  for (int64_t r = 0; r < keys; ++r) {
    V v0 = zero, v1 = zero, v2 = zero, v3 = zero;
    load<vectors>(scores + r * width, v0, v1, v2, v3);
    m0 = hn::Max(m0, v0);
    if constexpr (vectors > 1) m1 = hn::Max(m1, v1);
    if constexpr (vectors > 2) m2 = hn::Max(m2, v2);
    if constexpr (vectors > 3) m3 = hn::Max(m3, v3);
  }
  const V h0 = hn::Mul(m0, scale), h1 = hn::Mul(m1, scale), h2 = hn::Mul(m2, scale), h3 = hn::Mul(m3, scale);
  const bool same = hn::AllTrue(d, hn::Eq(m0, o0)) && hn::AllTrue(d, hn::Eq(m1, o1)) &&
                    hn::AllTrue(d, hn::Eq(m2, o2)) && hn::AllTrue(d, hn::Eq(m3, o3));
  if (!same) {
    const V r0 = exp2(hn::MulSub(o0, scale, h0)), r1 = exp2(hn::MulSub(o1, scale, h1));
    const V r2 = exp2(hn::MulSub(o2, scale, h2)), r3 = exp2(hn::MulSub(o3, scale, h3));
    shrink<vectors>(group.sum, r0, r1, r2, r3);
    for (int64_t i = 0; i < dim; ++i) shrink<vectors>(group.out + i * width, r0, r1, r2, r3);
    store<vectors>(m0, m1, m2, m3, group.most);
  }
  V t0 = zero, t1 = zero, t2 = zero, t3 = zero, e0 = zero, e1 = zero, e2 = zero, e3 = zero;
  load<vectors>(group.sum, t0, t1, t2, t3);
  for (int64_t r = 0; r < keys; ++r) {
    V v0 = zero, v1 = zero, v2 = zero, v3 = zero;
    load<vectors>(scores + r * width, v0, v1, v2, v3);
    v0 = weight<pairs>(hn::MulSub(v0, scale, h0));
    t0 = hn::Add(t0, v0);
    if constexpr (vectors > 1) v1 = weight<pairs>(hn::MulSub(v1, scale, h1)), t1 = hn::Add(t1, v1);
    if constexpr (vectors > 2) v2 = weight<pairs>(hn::MulSub(v2, scale, h2)), t2 = hn::Add(t2, v2);
    if constexpr (vectors > 3) v3 = weight<pairs>(hn::MulSub(v3, scale, h3)), t3 = hn::Add(t3, v3);
    if constexpr (!pairs) {
      store<vectors>(v0, v1, v2, v3, scores + r * width);
    } else {
      float* to = scores + r / 2 * width;
      if (r % 2 == 1)
        store<vectors>(pair<pairs>(e0, v0), pair<pairs>(e1, v1), pair<pairs>(e2, v2), pair<pairs>(e3, v3),
                       to);
      else if (r + 1 == keys)
        store<vectors>(pair<pairs>(v0, zero), pair<pairs>(v1, zero), pair<pairs>(v2, zero),
                       pair<pairs>(v3, zero), to);
      e0 = v0, e1 = v1, e2 = v2, e3 = v3;
    }
  }
  store<vectors>(t0, t1, t2, t3, group.sum);
}

template <bool pairs, int vectors>
void attend(const Group& group, const Block& block, int64_t dim, float factor, float* scores) {
  multiply<pairs, vectors>(block.k, block.k_row, 1, group.queries, pairs ? dim / 2 : dim, scores, block.keys,
                           false);
  soften<pairs, vectors>(group, factor, dim, block.keys, scores);
  multiply<pairs, vectors>(block.v, 1, block.v_row, scores, pairs ? (block.keys + 1) / 2 : block.keys,
                           group.out, dim, true);
}

#if FC_BF16_INSTRUCTIONS
// The values of a block with a row for each dimension, in which keys 2t and 2t + 1 lie side by side; zero behind the last key.
// dim: a multiple of 32.
void turn_pairs(const uint16_t* v, int64_t stride, int64_t keys, int64_t dim, float* turned) {
  const hn::ScalableTag<uint16_t> d16;
  const hn::ScalableTag<uint32_t> d32;
  const hn::ScalableTag<uint64_t> d64;
  const int64_t n = 2 * lanes();  // 32 dimensions, or as many as a vector holds
  constexpr int64_t block = 4;    // numbers of 32 bits in 128: what instructions interleave
  HWY_ALIGN uint32_t columns[block][HWY_MAX_BYTES / 4];
  // Four pairs of keys: in each 128 bits four dimensions of four pairs are turned, and go to four rows.
  for (int64_t t = 0; t < whole_tiles((keys + 1) / 2); t += block)
    for (int64_t from = 0; from < dim; from += n) {
      const auto row = [&](int64_t key) HWY_ATTR {
        return key < keys ? hn::LoadU(d16, v + key * stride + from) : hn::Zero(d16);
      };
      const auto v0 = row(2 * t), v1 = row(2 * t + 1), v2 = row(2 * t + 2), v3 = row(2 * t + 3),
                 v4 = row(2 * t + 4), v5 = row(2 * t + 5), v6 = row(2 * t + 6), v7 = row(2 * t + 7);
      const auto turn = [&](auto a, auto b, auto c, auto e, int64_t first) HWY_ATTR {
        const auto p = hn::BitCast(d32, a), q = hn::BitCast(d32, b), r = hn::BitCast(d32, c),
                   s = hn::BitCast(d32, e);
        const auto pq = hn::BitCast(d64, hn::InterleaveLower(d32, p, q)),
                   rs = hn::BitCast(d64, hn::InterleaveLower(d32, r, s)),
                   tu = hn::BitCast(d64, hn::InterleaveUpper(d32, p, q)),
                   vw = hn::BitCast(d64, hn::InterleaveUpper(d32, r, s));
        hn::Store(hn::BitCast(d32, hn::InterleaveLower(d64, pq, rs)), d32, columns[0]);
        hn::Store(hn::BitCast(d32, hn::InterleaveUpper(d64, pq, rs)), d32, columns[1]);
        hn::Store(hn::BitCast(d32, hn::InterleaveLower(d64, tu, vw)), d32, columns[2]);
        hn::Store(hn::BitCast(d32, hn::InterleaveUpper(d64, tu, vw)), d32, columns[3]);
        for (int64_t i = 0; i < lanes() / block; ++i)
          for (int64_t j = 0; j < block; ++j)
            __builtin_memcpy(turned + (from + 2 * block * i + first + j) * (key_block / 2) + t,
                             columns[j] + block * i, 4 * block);
      };
      turn(hn::InterleaveLower(d16, v0, v1), hn::InterleaveLower(d16, v2, v3),
           hn::InterleaveLower(d16, v4, v5), hn::InterleaveLower(d16, v6, v7), 0);
      turn(hn::InterleaveUpper(d16, v0, v1), hn::InterleaveUpper(d16, v2, v3),
           hn::InterleaveUpper(d16, v4, v5), hn::InterleaveUpper(d16, v6, v7), block);
    }
}

// c[r][:] = sum over steps s of a[r * row + s] * b[s][:], or this is added to c, in whole tiles: rows of zeros are added to
// a, and c has room for them.
template <int vectors>
HWY_NOINLINE void amx_multiply(const float* a, int64_t row, int64_t rows, const float* b, int64_t steps,
                               float* c, bool add) {
  constexpr int64_t width = vectors * tile_steps;
  for (int64_t r = 0; r < rows; r += tile_rows, a += tile_rows * row, c += tile_rows * width) {
    if (add)
      load_sums<1, vectors>(c, width);
    else
      zero_sums<1, vectors>();
    add_tiles<1, vectors>(a, row, lesser(rows - r, tile_rows), steps, b, width);
    store_sums<1, vectors>(c, width);
  }
}

template <int vectors>
void amx_attend(const Group& group, const Block& block, int64_t dim, float factor, float* scores) {
  constexpr int64_t width = vectors * tile_steps;
  const Tiles tiles;
  amx_multiply<vectors>(block.k, block.k_row, block.keys, group.queries, dim / 2, scores, false);
  soften<has_bf16_instructions, vectors>(group, factor, dim, block.keys, scores);
  const int64_t steps = (block.keys + 1) / 2, whole = whole_tiles(steps);
  fill(scores + steps * width, (whole - steps) * width, 0);
  amx_multiply<vectors>(block.v, block.v_row, dim, scores, whole, group.out, true);
}

void amx_attend(const Group& group, const Block& block, int64_t dim, float factor, float* scores) {
  with_width(group.vectors, [&](auto width) HWY_ATTR {
    amx_attend<decltype(width)::vectors>(group, block, dim, factor, scores);
  });
}
#else
void turn_pairs(const uint16_t*, int64_t, int64_t, int64_t, float*) {}
void amx_attend(const Group&, const Block&, int64_t, float, float*) {}
#endif

template <bool pairs>
void attend(const Group& group, const Block& block, int64_t dim, float factor, float* scores) {
  with_width(group.vectors, [&](auto width) HWY_ATTR {
    attend<pairs, decltype(width)::vectors>(group, block, dim, factor, scores);
  });
}

void widen_rows(const uint16_t* from, int64_t stride, int64_t rows, int64_t dim, float* to) {
  for (int64_t r = 0; r < rows; ++r, from += stride, to += dim)
    for (int64_t i = 0; i < dim; ++i) to[i] = widened(from[i]);
}

// Puts the values of keys 2t and 2t + 1 side by side. If the last key has no partner, zero takes its place.
void pack_pairs(const uint16_t* v, int64_t stride, int64_t keys, int64_t dim, float* packed) {
  auto* to = reinterpret_cast<uint32_t*>(packed);
  for (int64_t t = 0; t < keys; t += 2, v += 2 * stride, to += dim) {
    const uint32_t keep = t + 1 < keys ? 0xffff : 0;
    const uint16_t* next = t + 1 < keys ? v + stride : v;
    for (int64_t i = 0; i < dim; ++i) to[i] = v[i] | (next[i] & keep) << 16;
  }
}

// Rounds up to 64 floats, so that each part of the scratch begins where a vector may begin.
int64_t padded(int64_t floats) {
  constexpr int64_t line = 64;
  return (floats + line - 1) / line * line;
}

class Attention {
 public:
  Attention(const AttentionHead& head, NumberType type, float* scratch)
      : head_(head),
        bf16_(type != NumberType::fp32),
        tiles_(has_bf16_instructions && type == NumberType::bf16_tiles && head.dim % (2 * tile_steps) == 0),
        pairs_(tiles_ || (has_bf16_instructions && type == NumberType::bf16_pairs)),
        scratch_(scratch) {}

  static int64_t scratch(int64_t rows, int64_t dim) {
    const int64_t vectors = (lesser(rows, most_rows) + lanes() - 1) / lanes();
    const int64_t state = 2 * padded(lanes() * dim) + 2 * padded(lanes());  // of one vector of queries
    return vectors * state + padded(key_block * max_vectors * lanes()) + 2 * padded(key_block * dim);
  }

  void run(int64_t first, int64_t rows) {
    float* free = scratch_;
    const auto take = [&](int64_t floats) {
      float* at = free;
      free += padded(floats);
      return at;
    };
    const int64_t dim = head_.dim, n = lanes(), vectors = (rows + n - 1) / n,
                  groups = (vectors + max_vectors - 1) / max_vectors;
    float* scores = take(key_block * max_vectors * n);
    k_ = take(key_block * dim);
    v_ = take(key_block * dim);
    Group all[most_rows];
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t begin = vectors * g / groups * n, end = vectors * (g + 1) / groups * n,
                    width = end - begin;
      all[g] = {.first = first + begin,
                .count = lesser(end, rows) - begin,
                .vectors = static_cast<int>(width / n),
                .queries = take(width * dim),
                .out = take(width * dim),
                .most = take(width),
                .sum = take(width)};
      fill(all[g].most, width, -HUGE_VALF);
      fill(all[g].sum, width, 0);
      fill(all[g].out, width * dim, 0);
      lay_out_queries(all[g], width);
    }
    const float factor = log2_e / std::sqrt(static_cast<float>(dim));
    for (int64_t key = 0; key < head_.keys; key += key_block) {
      const Block block = block_at(key, lesser(key_block, head_.keys - key));
      for (int64_t g = 0; g < groups; ++g)
        if (tiles_)
          amx_attend(all[g], block, dim, factor, scores);
        else if (has_bf16_instructions && pairs_)
          attend<has_bf16_instructions>(all[g], block, dim, factor, scores);
        else
          attend<false>(all[g], block, dim, factor, scores);
    }
    for (int64_t g = 0; g < groups; ++g) write(all[g]);
  }

 private:
  // [step][query]; zero behind the last query.
  void lay_out_queries(const Group& group, int64_t width) const {
    const int64_t steps = pairs_ ? head_.dim / 2 : head_.dim;
    fill(group.queries, steps * width, 0);
    for (int64_t i = 0; i < group.count; ++i) {
      const int64_t offset = (group.first + i) * head_.q_stride;
      float* to = group.queries + i;
      if (bf16_ && !pairs_) {
        const auto* q = static_cast<const uint16_t*>(head_.q) + offset;
        for (int64_t s = 0; s < steps; ++s) to[s * width] = widened(q[s]);
      } else {
        const auto* q = static_cast<const float*>(head_.q) + (pairs_ ? offset / 2 : offset);
        for (int64_t s = 0; s < steps; ++s) to[s * width] = q[s];
      }
    }
  }

  Block block_at(int64_t key, int64_t keys) const {
    const int64_t dim = head_.dim;
    if (!bf16_)
      return {static_cast<const float*>(head_.k) + key * head_.k_stride,
              static_cast<const float*>(head_.v) + key * head_.v_stride, head_.k_stride, head_.v_stride,
              keys};
    const auto* k = static_cast<const uint16_t*>(head_.k) + key * head_.k_stride;
    const auto* v = static_cast<const uint16_t*>(head_.v) + key * head_.v_stride;
    if (tiles_) {
      turn_pairs(v, head_.v_stride, keys, dim, v_);
      return {reinterpret_cast<const float*>(k), v_, head_.k_stride / 2, key_block / 2, keys};
    }
    if (pairs_) {
      pack_pairs(v, head_.v_stride, keys, dim, v_);
      return {reinterpret_cast<const float*>(k), v_, head_.k_stride / 2, dim, keys};
    }
    widen_rows(k, head_.k_stride, keys, dim, k_);
    widen_rows(v, head_.v_stride, keys, dim, v_);
    return {k_, v_, dim, dim, keys};
  }

  void write(const Group& group) const {
    const int64_t dim = head_.dim, width = group.vectors * lanes();
    for (int64_t i = 0; i < group.count; ++i) {
      const float rate = 1.f / group.sum[i];
      const int64_t offset = (group.first + i) * head_.out_stride;
      const float* from = group.out + i;
      if (bf16_) {
        auto* out = static_cast<uint16_t*>(head_.out) + offset;
        for (int64_t s = 0; s < dim; ++s) out[s] = narrowed(from[s * width] * rate);
      } else {
        auto* out = static_cast<float*>(head_.out) + offset;
        for (int64_t s = 0; s < dim; ++s) out[s] = from[s * width] * rate;
      }
    }
  }

  const AttentionHead& head_;
  const bool bf16_, tiles_, pairs_;
  float* const scratch_;
  float *k_ = nullptr, *v_ = nullptr;
};

int64_t scratch_floats(int64_t rows, int64_t dim) {
  return Attention::scratch(rows, dim);
}

void run_head(const AttentionHead& head, NumberType type, float* scratch) {
  const int64_t parts = (head.rows + most_rows - 1) / most_rows;
  for (int64_t i = 0; i < parts; ++i) {
    const int64_t first = head.rows * i / parts;
    Attention(head, type, scratch).run(first, head.rows * (i + 1) / parts - first);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace flowcache::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace flowcache::simd {

HWY_EXPORT(run_head);
HWY_EXPORT(scratch_floats);

int64_t attention_scratch(int64_t rows, int64_t dim) {
  return FC_DISPATCH(scratch_floats)(rows, dim);
}

void attention_head(const AttentionHead& head, NumberType type, float* scratch) {
  FC_DISPATCH(run_head)(head, type, scratch);
}

}  // namespace flowcache::simd
#endif
