// SPDX-License-Identifier: LGPL-2.1-or-later
// Shared by attention and products: groups of up to four vectors, and functions of a vector. Included once
// for each instruction set, inside its namespace.
namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::ScalableTag<float>;
using V = hn::Vec<Tag>;

// GCC assembles the instructions for bf16 in any code. Callers must make sure that they are only reached on processors that
// have them: those for pairs from CpuIsa::avx512bf16 on, those for tiles from CpuIsa::amx on.
#undef FC_BF16_INSTRUCTIONS
#if HWY_TARGET == HWY_AVX3 && HWY_COMPILER_GCC && !HWY_COMPILER_CLANG
#define FC_BF16_INSTRUCTIONS 1
#else
#define FC_BF16_INSTRUCTIONS 0
#endif
constexpr bool has_bf16_instructions = FC_BF16_INSTRUCTIONS;

// How many vectors share a pass. Four rows of sums, the vectors themselves and one number in all lanes must
// fit into the registers, of which there are 16 or 32.
constexpr int max_vectors = HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_SSE4 ? 3 : 4;

// Templates of the standard library must not be used here. Each instruction set would make a copy, and the
// linker might keep the widest one for every processor.
HWY_INLINE int64_t lesser(int64_t a, int64_t b) {
  return a < b ? a : b;
}
HWY_INLINE int64_t lanes() {
  return static_cast<int64_t>(hn::Lanes(Tag()));
}
HWY_INLINE void fill(float* at, int64_t count, float value) {
  for (int64_t i = 0; i < count; ++i) at[i] = value;
}

// A "step" multiplies 32 bits by 32 bits: one float, or with `pairs` two bf16 whose products add.
template <bool pairs>
HWY_INLINE V multiply_add(V a, V b, V sum) {
#if FC_BF16_INSTRUCTIONS
  if constexpr (pairs) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
    return sum;
  }
#endif
  return hn::MulAdd(a, b, sum);
}

// Calls work(Width<n>()) for a row of n vectors, 1 to max_vectors.
template <int n>
struct Width {
  static constexpr int vectors = n;
};
template <class Work>
HWY_INLINE void with_width(int64_t n, const Work& work) {
  switch (n) {
    case 1:
      return work(Width<1>());
    case 2:
      return work(Width<2>());
    case 3:
      return work(Width<3>());
    default:
      return work(Width<max_vectors>());
  }
}

// A row of up to four vectors is held in four variables, because vectors of some processors
// cannot be in arrays.
template <int vectors>
HWY_INLINE void load(const float* from, V& v0, V& v1, V& v2, V& v3) {
  const Tag d;
  const size_t n = hn::Lanes(d);
  v0 = hn::LoadU(d, from);
  if constexpr (vectors > 1) v1 = hn::LoadU(d, from + n);
  if constexpr (vectors > 2) v2 = hn::LoadU(d, from + 2 * n);
  if constexpr (vectors > 3) v3 = hn::LoadU(d, from + 3 * n);
}
template <int vectors>
HWY_INLINE void store(V v0, V v1, V v2, V v3, float* to) {
  const Tag d;
  const size_t n = hn::Lanes(d);
  hn::StoreU(v0, d, to);
  if constexpr (vectors > 1) hn::StoreU(v1, d, to + n);
  if constexpr (vectors > 2) hn::StoreU(v2, d, to + 2 * n);
  if constexpr (vectors > 3) hn::StoreU(v3, d, to + 3 * n);
}
// Adds number * b to a row of sums.
template <bool pairs, int vectors>
HWY_INLINE void add_row(float number, V b0, V b1, V b2, V b3, V& s0, V& s1, V& s2, V& s3) {
  const V a = hn::Set(Tag(), number);
  s0 = multiply_add<pairs>(a, b0, s0);
  if constexpr (vectors > 1) s1 = multiply_add<pairs>(a, b1, s1);
  if constexpr (vectors > 2) s2 = multiply_add<pairs>(a, b2, s2);
  if constexpr (vectors > 3) s3 = multiply_add<pairs>(a, b3, s3);
}

// 2^x for x <= 0, exact to about one unit in the last place: the nearest whole power, times a polynomial for
// the rest. Results below 2^-126 are 0. NaN stays NaN.
HWY_INLINE V exp2(V x) {
  const Tag d;
  const hn::RebindToSigned<Tag> di;
  const V least = hn::Set(d, -127.f);
  x = hn::IfThenElse(hn::Lt(x, least), least, x);  // Max() may lose a NaN
  const V whole = hn::Round(x), f = hn::Sub(x, whole);
  V p = hn::Set(d, 1.5403530e-4f);
  p = hn::MulAdd(p, f, hn::Set(d, 1.3333558e-3f));
  p = hn::MulAdd(p, f, hn::Set(d, 9.6181291e-3f));
  p = hn::MulAdd(p, f, hn::Set(d, 5.5504109e-2f));
  p = hn::MulAdd(p, f, hn::Set(d, 2.4022651e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 6.9314718e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.f));
  const auto bits = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, whole), hn::Set(di, 127)));
  return hn::Mul(p, hn::BitCast(d, bits));
}

// 2^x for x <= 0 as the weight of a key. With `pairs` it will be rounded to bf16, and is exact to 3e-6 of itself.
template <bool pairs>
HWY_INLINE V weight(V x) {
#if FC_BF16_INSTRUCTIONS
  if constexpr (pairs) {
    const Tag d;
    x = hn::Max(hn::Set(d, -126.f),
                x);  // results too small for a normal number take a hundred times as long; NaN stays
    V f = x, out = x;
    asm("vreduceps $1, %1, %0" : "=v"(f.raw) : "v"(x.raw));  // x minus the next lower whole number
    V p = hn::Set(d, 1.3534168e-2f);
    p = hn::MulAdd(p, f, hn::Set(d, 5.2011460e-2f));
    p = hn::MulAdd(p, f, hn::Set(d, 2.4144275e-1f));
    p = hn::MulAdd(p, f, hn::Set(d, 6.9300383e-1f));
    p = hn::MulAdd(p, f, hn::Set(d, 1.0000026f));
    asm("vscalefps %2, %1, %0" : "=v"(out.raw) : "v"(p.raw), "v"(x.raw));  // times 2 to that whole number
    return out;
  }
#endif
  return exp2(x);
}

// Two vectors of floats, rounded to nearest even, as pairs of bf16 for multiply_add(); `low` is of the even step.
template <bool pairs>
HWY_INLINE V pair(V low, V high) {
#if FC_BF16_INSTRUCTIONS
  if constexpr (pairs) {
    alignas(64) static constexpr uint16_t places[] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                      21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                      11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const auto place = hn::Load(hn::ScalableTag<uint16_t>(), places);
    V both = low;
    asm("vcvtne2ps2bf16 %2, %1, %0"
        : "=v"(both.raw)
        : "v"(high.raw), "v"(low.raw));  // all of low, then all of high
    asm("vpermw %0, %1, %0" : "+v"(both.raw) : "v"(place.raw));
    return both;
  }
#else
  static_assert(!pairs);
#endif
  return low;
}
