// SPDX-License-Identifier: LGPL-2.1-or-later
// Works on transposed scores: keys and values are read as they lie in the cache, one broadcast at a time, and
// only the few queries are laid out anew. A column of scores belongs to a query, so the softmax has no sums
// across a vector.
//
// fp32 and bf16 share the code. There a step multiplies 32 bits by 32 bits: one float, or two bf16 whose
// products add.
#include "flash_attention_cpu.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)

#include <immintrin.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <new>

#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // in the compiler's own header of intrinsics
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512bf16")

namespace flowcache {
namespace {

constexpr int64_t key_block = 48;   // keys whose scores are held at once
constexpr int64_t lane = 16;        // queries of a vector
constexpr int64_t max_vectors = 4;  // vectors of queries that share a pass over the keys
constexpr float log2_e = 1.44269504f;

// Nothing of the standard library may be instantiated here: the linker could keep that copy for every
// processor.
int64_t lesser(int64_t a, int64_t b) {
  return a < b ? a : b;
}

class Buffer {
 public:
  explicit Buffer(int64_t floats)
      : data_(static_cast<float*>(std::calloc(static_cast<size_t>(floats), sizeof(float)))) {
    if (!data_) throw std::bad_alloc();
  }
  ~Buffer() { std::free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  float* data() const { return data_; }

 private:
  float* data_;
};

template <bool bf16>
[[gnu::always_inline]] inline __m512 multiply_add(__m512 a, __m512 b, __m512 sum) {
  if constexpr (bf16)
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_castps_si512(a), (__m512bh)_mm512_castps_si512(b));
  else
    return _mm512_fmadd_ps(a, b, sum);
}

// c[r][:] (+)= sum over steps of a[r * row + s * step] * b[s][:]; b and c are `vectors` vectors wide.
template <bool bf16, int rows, int vectors>
[[gnu::always_inline]] inline void tile(const float* a, int64_t row, int64_t step, const float* b,
                                        int64_t steps, float* c, bool add) {
  __m512 sum[rows][vectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int i = 0; i < vectors; ++i)
      sum[r][i] = add ? _mm512_loadu_ps(c + (r * vectors + i) * lane) : _mm512_setzero_ps();
  for (int64_t s = 0; s < steps; ++s) {
    __m512 value[vectors];
#pragma GCC unroll 16
    for (int i = 0; i < vectors; ++i) value[i] = _mm512_loadu_ps(b + (s * vectors + i) * lane);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const __m512 one = _mm512_set1_ps(a[r * row + s * step]);
#pragma GCC unroll 16
      for (int i = 0; i < vectors; ++i) sum[r][i] = multiply_add<bf16>(one, value[i], sum[r][i]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int i = 0; i < vectors; ++i) _mm512_storeu_ps(c + (r * vectors + i) * lane, sum[r][i]);
}

template <bool bf16, int vectors>
void multiply(const float* a, int64_t row, int64_t step, const float* b, int64_t steps, float* c,
              int64_t rows, bool add) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4)
    tile<bf16, 4, vectors>(a + r * row, row, step, b, steps, c + r * vectors * lane, add);
  for (; r < rows; ++r) tile<bf16, 1, vectors>(a + r * row, row, step, b, steps, c + r * vectors * lane, add);
}

// 2^x for x <= 0: the nearest whole power and a polynomial for the rest, to about one unit in the last place.
[[gnu::always_inline]] inline __m512 exp2(__m512 x) {
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(x, whole);
  __m512 p = _mm512_set1_ps(1.5403530e-4f);
  for (const float coefficient :
       {1.3333558e-3f, 9.6181291e-3f, 5.5504109e-2f, 2.4022651e-1f, 6.9314718e-1f, 1.f})
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(coefficient));
  return _mm512_scalef_ps(p, whole);
}

// Rounds to nearest even; the lower half is left over.
[[gnu::always_inline]] inline __m512i round_to_upper(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  return _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
}

// Floats to the pair of bf16 that multiply_add() takes, `low` for the even step.
[[gnu::always_inline]] inline __m512 pair(__m512 low, __m512 high) {
  const __m512i upper =
      _mm512_and_si512(round_to_upper(high), _mm512_set1_epi32(static_cast<int>(0xffff0000)));
  return _mm512_castsi512_ps(_mm512_or_si512(_mm512_srli_epi32(round_to_upper(low), 16), upper));
}

// Running state of up to 64 queries; matrices are [row][vectors][16].
template <bool bf16, int vectors>
class Group {
 public:
  Group(const AttentionHead& head, int64_t first, int64_t count)
      : head_(head), first_(first), count_(count), buffer_(floats(head.dim)) {
    const int64_t steps = bf16 ? head.dim / 2 : head.dim;
    queries_ = buffer_.data();
    out_ = queries_ + steps * width;
    scores_ = out_ + head.dim * width;
    values_ = scores_ + key_block * width;
    const auto* q = static_cast<const float*>(head.q);
    const int64_t stride = bf16 ? head.q_stride / 2 : head.q_stride;
    for (int64_t i = 0; i < count; ++i)
      for (int64_t s = 0; s < steps; ++s) queries_[s * width + i] = q[(first + i) * stride + s];
    scale_ = log2_e / std::sqrt(static_cast<float>(head.dim));
    for (int i = 0; i < vectors; ++i) {
      most_[i] = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
      sum_[i] = _mm512_setzero_ps();
    }
  }

  void run() {
    for (int64_t key = 0; key < head_.keys; key += key_block) block(key, lesser(key_block, head_.keys - key));
    write();
  }

 private:
  static constexpr int64_t width = vectors * lane;
  static int64_t floats(int64_t dim) {
    return ((bf16 ? dim / 2 : dim) + dim + key_block) * width + (bf16 ? key_block / 2 * dim : 0);
  }

  void block(int64_t key, int64_t n) {
    const int64_t k_stride = bf16 ? head_.k_stride / 2 : head_.k_stride;
    const auto* k = static_cast<const float*>(head_.k) + key * k_stride;
    multiply<bf16, vectors>(k, k_stride, 1, queries_, bf16 ? head_.dim / 2 : head_.dim, scores_, n, false);
    soften(n);
    if constexpr (bf16) {
      pack(key, n);
      multiply<true, vectors>(values_, 1, head_.dim, scores_, (n + 1) / 2, out_, head_.dim, true);
    } else {
      const auto* v = static_cast<const float*>(head_.v) + key * head_.v_stride;
      multiply<false, vectors>(v, 1, head_.v_stride, scores_, n, out_, head_.dim, true);
    }
  }

  // Scores to weights relative to the largest score so far; what was summed under a smaller one shrinks.
  void soften(int64_t n) {
    for (int i = 0; i < vectors; ++i) {
      __m512 most = most_[i];
      float* column = scores_ + i * lane;
      for (int64_t r = 0; r < n; ++r) most = _mm512_max_ps(most, _mm512_loadu_ps(column + r * width));
      const __m512 scale = _mm512_set1_ps(scale_), shift = _mm512_mul_ps(most, scale);
      if (_mm512_cmp_ps_mask(most, most_[i], _CMP_NEQ_UQ) != 0) {
        const __m512 shrink = exp2(_mm512_fmsub_ps(most_[i], scale, shift));
        sum_[i] = _mm512_mul_ps(sum_[i], shrink);
        for (int64_t d = 0; d < head_.dim; ++d) {
          float* o = out_ + d * width + i * lane;
          _mm512_storeu_ps(o, _mm512_mul_ps(_mm512_loadu_ps(o), shrink));
        }
        most_[i] = most;
      }
      __m512 sum = sum_[i], before = _mm512_setzero_ps();
      for (int64_t r = 0; r < n; ++r) {
        const __m512 p = exp2(_mm512_fmsub_ps(_mm512_loadu_ps(column + r * width), scale, shift));
        sum = _mm512_add_ps(sum, p);
        if constexpr (!bf16)
          _mm512_storeu_ps(column + r * width, p);
        else if (r % 2 == 1)
          _mm512_storeu_ps(column + r / 2 * width, pair(before, p));
        else if (r + 1 == n)
          _mm512_storeu_ps(column + r / 2 * width, pair(p, _mm512_setzero_ps()));
        before = p;
      }
      sum_[i] = sum;
    }
  }

  // Values of keys 2t and 2t + 1 side by side; the missing partner of the last one is zero.
  void pack(int64_t key, int64_t n) {
    const auto* v = static_cast<const uint16_t*>(head_.v) + key * head_.v_stride;
    auto* to = reinterpret_cast<uint32_t*>(values_);
    for (int64_t t = 0; t < n; t += 2, v += 2 * head_.v_stride, to += head_.dim) {
      const uint32_t keep = t + 1 < n ? 0xffff : 0;
      const uint16_t* next = t + 1 < n ? v + head_.v_stride : v;
      for (int64_t d = 0; d < head_.dim; ++d) to[d] = v[d] | (next[d] & keep) << 16;
    }
  }

  void write() {
    alignas(64) float rate[width];
    for (int i = 0; i < vectors; ++i)
      _mm512_store_ps(rate + i * lane, _mm512_div_ps(_mm512_set1_ps(1.f), sum_[i]));
    for (int64_t i = 0; i < count_; ++i) {
      const int64_t offset = (first_ + i) * head_.out_stride;
      if constexpr (bf16) {
        auto* out = static_cast<uint16_t*>(head_.out) + offset;
        for (int64_t d = 0; d < head_.dim; ++d) {
          const float value = out_[d * width + i] * rate[i];
          uint32_t bits;
          std::memcpy(&bits, &value, sizeof bits);
          out[d] =
              static_cast<uint16_t>(value == value ? (bits + 0x7fff + ((bits >> 16) & 1)) >> 16 : 0x7fc0);
        }
      } else {
        auto* out = static_cast<float*>(head_.out) + offset;
        for (int64_t d = 0; d < head_.dim; ++d) out[d] = out_[d * width + i] * rate[i];
      }
    }
  }

  const AttentionHead& head_;
  int64_t first_, count_;
  float scale_ = 0;
  Buffer buffer_;
  float *queries_ = nullptr, *out_ = nullptr, *scores_ = nullptr, *values_ = nullptr;
  __m512 most_[vectors], sum_[vectors];
};

template <bool bf16>
void run_head(const AttentionHead& head) {
  for (int64_t row = 0; row < head.rows; row += max_vectors * lane) {
    const int64_t count = lesser(max_vectors * lane, head.rows - row);
    switch ((count + lane - 1) / lane) {
      case 1:
        Group<bf16, 1>(head, row, count).run();
        break;
      case 2:
        Group<bf16, 2>(head, row, count).run();
        break;
      case 3:
        Group<bf16, 3>(head, row, count).run();
        break;
      default:
        Group<bf16, 4>(head, row, count).run();
        break;
    }
  }
}

}  // namespace

void attention_head_avx512(const AttentionHead& head, bool bf16) {
  if (bf16)
    run_head<true>(head);
  else
    run_head<false>(head);
}

}  // namespace flowcache

#pragma GCC pop_options

#include "cpu_isa.h"

namespace flowcache {

bool has_attention_avx512(bool bf16) {
  return allowed_isa() >= (bf16 ? CpuIsa::avx512bf16 : CpuIsa::avx512);
}

}  // namespace flowcache

#else

namespace flowcache {
bool has_attention_avx512(bool) {
  return false;
}
void attention_head_avx512(const AttentionHead&, bool) {}
}  // namespace flowcache

#endif
