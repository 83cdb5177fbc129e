// SPDX-License-Identifier: LGPL-2.1-or-later
#include "simd/number_type.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "cpu_isa.h"
#include "simd/products.h"

namespace flowcache::simd {
namespace {

// The least time of a small layer whose numbers stay in the nearest caches.
double seconds_of(NumberType type) {
  constexpr int64_t rows = 32, in = 128, out = 64, line = 64;
  const MatrixSize size{in, out, type};
  const auto room = [](int64_t bytes) {
    return std::make_unique<std::byte[]>(static_cast<size_t>(bytes + line));  // of zeros
  };
  const auto aligned = [](const std::unique_ptr<std::byte[]>& memory) {
    const auto at = reinterpret_cast<uintptr_t>(memory.get());
    return memory.get() + (line - at % line) % line;
  };
  const auto numbers = room(rows * in * 4), packed = room(packed_bytes(size)), y = room(rows * out * 4),
             scratch = room(4 * product_scratch(size));
  pack(size, numbers.get(), aligned(packed));
  const Segment whole{numbers.get(), in};
  double least = 1;
  for (int i = 0; i < 8; ++i) {
    const auto start = std::chrono::steady_clock::now();
    multiply({.size = size,
              .packed = aligned(packed),
              .segments = &whole,
              .segment_count = 1,
              .row_stride = in,
              .rows = rows,
              .y = y.get(),
              .y_stride = out,
              .scratch = reinterpret_cast<float*>(aligned(scratch))});
    least = std::min(least, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return least;
}

NumberType fastest() {
#if !defined(__clang__)  // GCC assembles the instructions (vectors-inl.h)
  if (allowed_isa() == CpuIsa::amx) return NumberType::bf16_tiles;
  if (allowed_isa() == CpuIsa::avx512bf16 &&
      seconds_of(NumberType::bf16_pairs) < seconds_of(NumberType::fp32))
    return NumberType::bf16_pairs;
#endif
  return NumberType::bf16_widened;
}

}  // namespace

NumberType fastest_bf16() {
  static const NumberType type = fastest();
  return type;
}

}  // namespace flowcache::simd
