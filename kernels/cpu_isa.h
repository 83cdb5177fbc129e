// SPDX-License-Identifier: LGPL-2.1-or-later
// Which instructions the CPU kernels may use: those of the processor, or fewer where FLOWCACHE_MAX_CPU_ISA
// says so.
#pragma once

#include <string>
#include <vector>

namespace flowcache {

// Levels of one processor family, in order: who has one has all before it. x86-64 has the first four, ARM the
// first (NEON) and the last, any other processor the first only.
enum class CpuIsa {
  baseline,    // what the library is built for; on x86-64 a kernel may also use SSE4 where it is there
  avx2,        // with FMA, F16C and BMI
  avx512,      // F, BW, CD, DQ and VL
  avx512bf16,  // and products of bf16
  sve,
};

// "baseline", "avx2", "avx512", "avx512bf16" or "sve"; "neon" for the baseline of ARM. Static storage.
const char* name_of(CpuIsa isa);

// The levels of the family that this library is built for, lowest first.
const std::vector<CpuIsa>& known_isas();

// The highest level that the processor and the operating system support. Any thread.
CpuIsa processor_isa();

// The level that a value of FLOWCACHE_MAX_CPU_ISA stands for: the name of a known one; "baseline" is the
// lowest everywhere; null, "" and "native" set no limit. Error (FC_ERROR_ARGUMENT) for anything else.
CpuIsa parse_isa(const char* value);

// The lower of processor_isa() and FLOWCACHE_MAX_CPU_ISA. The variable is read at the first call that finds a
// good value, and not again. Error (FC_ERROR_ARGUMENT) as parse_isa(). Any thread; costs nothing after the
// first call.
CpuIsa allowed_isa();

}  // namespace flowcache
