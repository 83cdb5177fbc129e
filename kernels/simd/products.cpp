// SPDX-License-Identifier: LGPL-2.1-or-later
// The matrix is laid out in panels: [panel][input][output]. A panel has as many outputs as a row of sums
// has in its vectors. A tile of sums, some rows high and one panel wide, stays in registers while the
// inputs are read. Long inputs are cut into parts, so that a panel's part, which all rows share, stays
// in the nearest caches.
#include "simd/products.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/products.cpp"
#include "simd/targets-inl.h"

HWY_BEFORE_NAMESPACE();
namespace flowcache::simd::HWY_NAMESPACE {
namespace {

#include "simd/bf16-inl.h"
#include "simd/tiles-inl.h"

constexpr int64_t most_rows = 256;    // rows whose sums are held from one part of the inputs to the next
constexpr int64_t most_steps = 1024;  // steps of inputs up to which they are not cut
constexpr int64_t part_steps = 512;   // steps of one part
constexpr int64_t most_segments = 64;
constexpr int64_t widest = HWY_TARGET == HWY_SCALAR ? 4 : 4 * HWY_MAX_BYTES / 4;  // floats of a panel

struct Layout {
  int64_t steps, vectors, panels;  // steps of the inputs, vectors of all outputs, number of panels
  bool widened, tiles;
  explicit Layout(const MatrixSize& size)
      : steps(size.type == NumberType::bf16_pairs || size.type == NumberType::bf16_tiles ? size.in / 2
                                                                                         : size.in),
        vectors((size.out + lanes() - 1) / lanes()),
        panels((vectors + max_vectors - 1) / max_vectors),
        widened(size.type == NumberType::bf16_widened),
        tiles(size.type == NumberType::bf16_tiles) {}
  // All panels have nearly the same number of vectors.
  int64_t parts() const {
    return steps <= (widened ? part_steps : most_steps) ? 1 : (steps + part_steps - 1) / part_steps;
  }
  // Bytes of one step of one output: a float, a pair of bf16, or a single bf16.
  int64_t step_bytes() const { return widened ? 2 : 4; }
  int64_t first_vector(int64_t panel) const { return vectors * panel / panels; }
};

int64_t bytes_of(const MatrixSize& size) {
  const Layout layout(size);
  const int64_t bytes = (layout.steps * layout.vectors * lanes() * layout.step_bytes() + 63) / 64 * 64;
  return bytes + (layout.tiles ? tile_steps * 4 * widest : 0);  // the last tile reaches beyond the last step
}

// Working memory: the sums between two parts, and the rows and the panel of one part, widened to fp32.
int64_t sums_floats(const Layout& layout) {
  return layout.parts() > 1 ? most_rows * layout.vectors * lanes() : 0;
}
int64_t scratch_floats(const MatrixSize& size) {
  const Layout layout(size);
  return sums_floats(layout) + (layout.widened ? part_steps * (most_rows + widest) : 0);
}

template <class Step>
HWY_INLINE void lay_out_steps(const MatrixSize& size, const Layout& layout, const Step* from, Step* to) {
  for (int64_t panel = 0; panel < layout.panels; ++panel) {
    const int64_t first = layout.first_vector(panel) * lanes(),
                  width = layout.first_vector(panel + 1) * lanes() - first;
    for (int64_t s = 0; s < layout.steps; ++s)
      for (int64_t o = first; o < first + width; ++o)
        *to++ = o < size.out ? from[o * layout.steps + s] : Step{0};
  }
}

void lay_out(const MatrixSize& size, const void* weight, void* packed) {
  const Layout layout(size);
  if (layout.widened)
    lay_out_steps(size, layout, static_cast<const uint16_t*>(weight), static_cast<uint16_t*>(packed));
  else  // 32 bits are a step, whatever the type
    lay_out_steps(size, layout, static_cast<const uint32_t*>(weight), static_cast<uint32_t*>(packed));
  if (layout.tiles)
    fill(static_cast<float*>(packed) + layout.steps * layout.vectors * lanes(), tile_steps * widest, 0);
}

// A stretch of inputs, which lie side by side in every row.
struct Stretch {
  const float* a;  // of the first row
  int64_t steps;
};

// Calls found(numbers of row 0, offset among the steps, steps) for each stretch of steps first .. first +
// count - 1.
template <class Number, class Found>
HWY_INLINE void for_stretches(const Product& p, int64_t per_step, int64_t first, int64_t count,
                              const Found& found) {
  int64_t begin = 0;
  for (int64_t i = 0; i < p.segment_count; ++i) {
    const int64_t steps = p.segments[i].length / per_step;
    const int64_t from = first > begin ? first : begin, end = lesser(begin + steps, first + count);
    if (from < end)
      found(static_cast<const Number*>(p.segments[i].data) + (from - begin) * per_step, from - first,
            end - from);
    begin += steps;
  }
}

// Finds the stretches in which steps first .. first + count - 1 of the rows lie. Returns how many there are.
int64_t stretches(const Product& p, int64_t first, int64_t count, Stretch* to) {
  int64_t found = 0;
  const auto add = [&](const float* at, int64_t, int64_t steps) HWY_ATTR { to[found++] = {at, steps}; };
  if (p.size.type == NumberType::fp32)
    for_stretches<float>(p, 1, first, count, add);
  else
    for_stretches<uint16_t>(p, 2, first, count,
                            [&](const uint16_t* at, int64_t offset, int64_t steps)
                                HWY_ATTR { add(reinterpret_cast<const float*>(at), offset, steps); });
  return found;
}

// Copies the same steps of rows row .. row + rows - 1 as fp32, without gaps: [rows][count].
void widen_rows(const Product& p, int64_t row, int64_t rows, int64_t first, int64_t count, float* to) {
  for_stretches<uint16_t>(p, 1, first, count,
                          [&](const uint16_t* at, int64_t offset, int64_t steps) HWY_ATTR {
                            for (int64_t r = 0; r < rows; ++r)
                              for (int64_t s = 0; s < steps; ++s)
                                to[r * count + offset + s] = widened(at[(row + r) * p.row_stride + s]);
                          });
}

// What the tiles of a panel share.
struct Panel {
  const Product& p;
  const Stretch* stretches;
  int64_t stretch_count, stride;  // stride: floats from one row to the next
  bool first_part, last_part;
  int64_t first_row, stretch_row;  // the block's first row; the row that the stretches begin with
  const float* b = nullptr;        // packed, from the first step of this part on
  int64_t first_output = 0, width = 0;
  float* sums = nullptr;  // [rows][width] from first_row on: the sums between two parts
};

// 0.5 x (1 + tanh(u)) with u = sqrt(2 / pi) (x + 0.044715 x^3), computed as x * sigmoid(2u),
// which is the same.
HWY_INLINE V gelu(V x) {
  const Tag d;
  const V cube = hn::Mul(hn::Mul(x, x), x);
  const V u =
      hn::Mul(hn::Set(d, 2.302208198f), hn::MulAdd(cube, hn::Set(d, 0.044715f), x));  // 2 log2(e) sqrt(2/pi)
  const V one = hn::Set(d, 1.f), t = exp2(hn::Neg(hn::Abs(u)));
  const V above = hn::IfThenElse(hn::Lt(u, hn::Zero(d)), t, one);
  return hn::Div(hn::Mul(x, above), hn::Add(one, t));
}

HWY_INLINE V activated(V x, Activation activation) {
  const V zero = hn::Zero(Tag());
  if (activation == Activation::relu) return hn::IfThenElse(hn::Lt(x, zero), zero, x);
  if (activation == Activation::gelu_tanh) return gelu(x);
  return x;
}

// Writes the finished sums of one row to y.
template <int vectors>
HWY_INLINE void finish(const Panel& panel, int64_t row, V v0, V v1, V v2, V v3) {
  const Product& p = panel.p;
  const int64_t count = lesser(panel.width, p.size.out - panel.first_output);
  HWY_ALIGN float buffer[widest];
  const bool fp32 = p.size.type == NumberType::fp32;
  if (p.addend) {
    V a0 = v0, a1 = v0, a2 = v0, a3 = v0;
    const int64_t at = row * p.addend_stride + panel.first_output;
    const float* from = static_cast<const float*>(p.addend) + at;
    if (!fp32 || count < panel.width) {
      for (int64_t i = 0; i < count; ++i)
        buffer[i] = fp32 ? from[i] : widened(static_cast<const uint16_t*>(p.addend)[at + i]);
      for (int64_t i = count; i < panel.width; ++i) buffer[i] = 0;
      from = buffer;
    }
    load<vectors>(from, a0, a1, a2, a3);
    v0 = hn::Add(v0, a0), v1 = hn::Add(v1, a1), v2 = hn::Add(v2, a2), v3 = hn::Add(v3, a3);
  }
  if (p.activation != Activation::none) {
    v0 = activated(v0, p.activation);
    if constexpr (vectors > 1) v1 = activated(v1, p.activation);
    if constexpr (vectors > 2) v2 = activated(v2, p.activation);
    if constexpr (vectors > 3) v3 = activated(v3, p.activation);
  }
  const int64_t at = row * p.y_stride + panel.first_output;
  if (fp32 && count == panel.width) {
    store<vectors>(v0, v1, v2, v3, static_cast<float*>(p.y) + at);
    return;
  }
  store<vectors>(v0, v1, v2, v3, buffer);
  if (fp32)
    for (int64_t i = 0; i < count; ++i) static_cast<float*>(p.y)[at + i] = buffer[i];
  else
    for (int64_t i = 0; i < count; ++i) static_cast<uint16_t*>(p.y)[at + i] = narrowed(buffer[i]);
}

template <int vectors>
HWY_INLINE void leave(const Panel& panel, int64_t row, V v0, V v1, V v2, V v3) {
  if (panel.last_part)
    finish<vectors>(panel, row, v0, v1, v2, v3);
  else
    store<vectors>(v0, v1, v2, v3, panel.sums + (row - panel.first_row) * panel.width);
}

template <int vectors>
HWY_INLINE void begin(const Panel& panel, const float* bias, int64_t row, V& v0, V& v1, V& v2, V& v3) {
  load<vectors>(panel.first_part ? bias : panel.sums + (row - panel.first_row) * panel.width, v0, v1, v2, v3);
}

// Multiplies `rows` rows, 1 to 6, with one panel.
template <bool pairs, int vectors, int rows>
HWY_INLINE void tile(const Panel& panel, const float* bias, int64_t row) {
  const V zero = hn::Zero(Tag());
  const int64_t stride = panel.stride, width = vectors * lanes();
  V p0 = zero, p1 = zero, p2 = zero, p3 = zero, q0 = zero, q1 = zero, q2 = zero, q3 = zero;
  V r0 = zero, r1 = zero, r2 = zero, r3 = zero, s0 = zero, s1 = zero, s2 = zero, s3 = zero;
  V t0 = zero, t1 = zero, t2 = zero, t3 = zero, u0 = zero, u1 = zero, u2 = zero, u3 = zero;
  begin<vectors>(panel, bias, row, p0, p1, p2, p3);
  if constexpr (rows > 1) begin<vectors>(panel, bias, row + 1, q0, q1, q2, q3);
  if constexpr (rows > 2) begin<vectors>(panel, bias, row + 2, r0, r1, r2, r3);
  if constexpr (rows > 3) begin<vectors>(panel, bias, row + 3, s0, s1, s2, s3);
  if constexpr (rows > 4) begin<vectors>(panel, bias, row + 4, t0, t1, t2, t3);
  if constexpr (rows > 5) begin<vectors>(panel, bias, row + 5, u0, u1, u2, u3);
  const float* HWY_RESTRICT b = panel.b;
  for (int64_t i = 0; i < panel.stretch_count; ++i) {
    const float* HWY_RESTRICT a = panel.stretches[i].a + (row - panel.stretch_row) * stride;
    for (int64_t s = 0; s < panel.stretches[i].steps; ++s, ++a, b += width) {
      V b0 = zero, b1 = zero, b2 = zero, b3 = zero;
      load<vectors>(b, b0, b1, b2, b3);
      add_row<pairs, vectors>(a[0], b0, b1, b2, b3, p0, p1, p2, p3);
      if constexpr (rows > 1) add_row<pairs, vectors>(a[stride], b0, b1, b2, b3, q0, q1, q2, q3);
      if constexpr (rows > 2) add_row<pairs, vectors>(a[2 * stride], b0, b1, b2, b3, r0, r1, r2, r3);
      if constexpr (rows > 3) add_row<pairs, vectors>(a[3 * stride], b0, b1, b2, b3, s0, s1, s2, s3);
      if constexpr (rows > 4) add_row<pairs, vectors>(a[4 * stride], b0, b1, b2, b3, t0, t1, t2, t3);
      if constexpr (rows > 5) add_row<pairs, vectors>(a[5 * stride], b0, b1, b2, b3, u0, u1, u2, u3);
    }
  }
  leave<vectors>(panel, row, p0, p1, p2, p3);
  if constexpr (rows > 1) leave<vectors>(panel, row + 1, q0, q1, q2, q3);
  if constexpr (rows > 2) leave<vectors>(panel, row + 2, r0, r1, r2, r3);
  if constexpr (rows > 3) leave<vectors>(panel, row + 3, s0, s1, s2, s3);
  if constexpr (rows > 4) leave<vectors>(panel, row + 4, t0, t1, t2, t3);
  if constexpr (rows > 5) leave<vectors>(panel, row + 5, u0, u1, u2, u3);
}

// Tiles of narrow panels are higher, so that enough sums are computed at the same time.
template <bool pairs, int vectors>
HWY_NOINLINE void tiles(const Panel& panel, const float* bias, int64_t first, int64_t rows) {
  constexpr int high = vectors > 2 ? 4 : 6;
  int64_t r = 0;
  for (; r + high <= rows; r += high) tile<pairs, vectors, high>(panel, bias, first + r);
  if constexpr (high > 4)
    for (; r + 4 <= rows; r += 4) tile<pairs, vectors, 4>(panel, bias, first + r);
  for (; r + 2 <= rows; r += 2) tile<pairs, vectors, 2>(panel, bias, first + r);
  for (; r < rows; ++r) tile<pairs, vectors, 1>(panel, bias, first + r);
}

template <bool pairs>
HWY_INLINE void tiles(const Panel& panel, const float* bias, int64_t first, int64_t rows) {
  with_width(panel.width / lanes(),
             [&](auto width) HWY_ATTR { tiles<pairs, decltype(width)::vectors>(panel, bias, first, rows); });
}

#if FC_BF16_INSTRUCTIONS
// Multiplies `count` rows, at most as many as the tiles have, with one panel.
template <int high, int wide>
void amx_rows(const Panel& panel, const float* bias, int64_t row, int64_t count) {
  constexpr int64_t width = wide * tile_steps;
  HWY_ALIGN float sums[high * tile_rows * width];
  zero_sums<high, wide>();
  const float* b = panel.b;
  for (int64_t i = 0; i < panel.stretch_count; ++i) {
    const Stretch& stretch = panel.stretches[i];
    add_tiles<high, wide>(stretch.a + (row - panel.stretch_row) * panel.stride, panel.stride, count,
                          stretch.steps, b, width);
    b += stretch.steps * width;
  }
  store_sums<high, wide>(sums, width);
  for (int64_t r = 0; r < count; ++r) {
    const V zero = hn::Zero(Tag());
    V b0 = zero, b1 = zero, b2 = zero, b3 = zero, v0 = zero, v1 = zero, v2 = zero, v3 = zero;
    begin<wide>(panel, bias, row + r, b0, b1, b2, b3);
    load<wide>(sums + r * width, v0, v1, v2, v3);
    leave<wide>(panel, row + r, hn::Add(v0, b0), hn::Add(v1, b1), hn::Add(v2, b2), hn::Add(v3, b3));
  }
}

template <int wide>
HWY_NOINLINE void amx_panel(const Panel& panel, const float* bias, int64_t first, int64_t rows) {
  constexpr int high = 4 / wide;
  const Tiles tiles;
  int64_t r = 0;
  for (; r + high * tile_rows <= rows; r += high * tile_rows)
    amx_rows<high, wide>(panel, bias, first + r, high * tile_rows);
  for (; r < rows; r += tile_rows) amx_rows<1, wide>(panel, bias, first + r, lesser(rows - r, tile_rows));
}

void amx_panel(const Panel& panel, const float* bias, int64_t first, int64_t rows) {
  with_width(panel.width / tile_steps,
             [&](auto width) HWY_ATTR { amx_panel<decltype(width)::vectors>(panel, bias, first, rows); });
}
#else
void amx_panel(const Panel&, const float*, int64_t, int64_t) {}
#endif

// Multiplies rows first .. first + rows - 1, at most most_rows.
void run_rows(const Product& p, const Layout& layout, int64_t first, int64_t rows) {
  HWY_ALIGN float bias[widest];
  Stretch found[most_segments];
  float* const wide_rows = p.scratch + sums_floats(layout);
  float* const wide_panel = wide_rows + part_steps * most_rows;
  for (int64_t part = 0; part < layout.parts(); ++part) {
    const int64_t step = layout.steps * part / layout.parts(),
                  steps = layout.steps * (part + 1) / layout.parts() - step;
    Panel panel{.p = p,
                .stretches = found,
                .stretch_count = 1,
                .stride = steps,
                .first_part = part == 0,
                .last_part = part + 1 == layout.parts(),
                .first_row = first,
                .stretch_row = layout.widened ? first : 0};
    if (layout.widened) {
      widen_rows(p, first, rows, step, steps, wide_rows);
      found[0] = {wide_rows, steps};
    } else {
      panel.stretch_count = stretches(p, step, steps, found);
      panel.stride = p.size.type == NumberType::fp32 ? p.row_stride : p.row_stride / 2;
    }
    for (int64_t i = 0; i < layout.panels; ++i) {
      panel.first_output = layout.first_vector(i) * lanes();
      panel.width = layout.first_vector(i + 1) * lanes() - panel.first_output;
      const int64_t at = layout.steps * panel.first_output + step * panel.width;
      panel.b = static_cast<const float*>(p.packed) + at;
      if (layout.widened) {
        const auto* narrow = static_cast<const uint16_t*>(p.packed) + at;
        for (int64_t k = 0; k < steps * panel.width; ++k) wide_panel[k] = widened(narrow[k]);
        panel.b = wide_panel;
      }
      panel.sums = p.scratch + most_rows * panel.first_output;
      for (int64_t o = 0; o < panel.width; ++o)
        bias[o] = p.bias && panel.first_output + o < p.size.out ? p.bias[panel.first_output + o] : 0;
      if (has_bf16_instructions && layout.tiles)
        amx_panel(panel, bias, first, rows);
      else if (has_bf16_instructions && p.size.type == NumberType::bf16_pairs)
        tiles<has_bf16_instructions>(panel, bias, first, rows);
      else
        tiles<false>(panel, bias, first, rows);
    }
  }
}

void run(const Product& p) {
  const Layout layout(p.size);
  const int64_t blocks = (p.rows + most_rows - 1) / most_rows;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t first = p.rows * i / blocks;
    run_rows(p, layout, first, p.rows * (i + 1) / blocks - first);
  }
}

}  // namespace
}  // namespace flowcache::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace flowcache::simd {

HWY_EXPORT(bytes_of);
HWY_EXPORT(scratch_floats);
HWY_EXPORT(lay_out);
HWY_EXPORT(run);

int64_t packed_bytes(const MatrixSize& size) {
  return FC_DISPATCH(bytes_of)(size);
}
int64_t product_scratch(const MatrixSize& size) {
  return FC_DISPATCH(scratch_floats)(size);
}
void pack(const MatrixSize& size, const void* weight, void* packed) {
  FC_DISPATCH(lay_out)(size, weight, packed);
}
void multiply(const Product& product) {
  FC_DISPATCH(run)(product);
}

}  // namespace flowcache::simd
#endif
