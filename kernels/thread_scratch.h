// SPDX-License-Identifier: LGPL-2.1-or-later
// Working memory of a thread, which its kernels use one after the other. If each call allocated its own, the
// system would take back the pages and fill them with zeros each time.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace flowcache {

// At least `floats` floats with arbitrary contents, at a multiple of 256 bytes. They belong to the calling
// thread until its next call, and are freed when it ends. Throws std::bad_alloc.
inline float* thread_scratch(int64_t floats) {
  struct Free {
    void operator()(float* at) const { std::free(at); }
  };
  thread_local std::unique_ptr<float, Free> memory;
  thread_local int64_t held = 0;
  if (floats > held) {
    constexpr size_t line = 256;
    const size_t bytes = (static_cast<size_t>(floats) * sizeof(float) + line - 1) / line * line;
    memory.reset();
    held = 0;
    memory.reset(static_cast<float*>(std::aligned_alloc(line, bytes)));
    if (!memory) throw std::bad_alloc();
    held = static_cast<int64_t>(bytes / sizeof(float));
  }
  return memory.get();
}

}  // namespace flowcache
