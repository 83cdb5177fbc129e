// SPDX-License-Identifier: LGPL-2.1-or-later
// Which instructions the CPU kernels may use: those of the processor, or fewer if the environment variable
// FLOWCACHE_MAX_CPU_ISA says so.
#pragma once

#include <string>
#include <vector>

namespace flowcache {

// Levels in ascending order: a processor that has one also has all before it that its family knows. x86-64
// knows the first five, ARM the first (NEON) and the last, any other processor only the first.
enum class CpuIsa {
  baseline,    // what the library is built for; on x86-64 kernels also use SSE4 if the processor has it
  avx2,        // with FMA, F16C and BMI
  avx512,      // F, BW, CD, DQ and VL
  avx512bf16,  // and products of pairs of bf16
  amx,         // and of tiles of bf16
  sve,
};

// "baseline", "avx2", "avx512", "avx512bf16", "amx" or "sve"; "neon" for the baseline of ARM. Static storage.
const char* name_of(CpuIsa isa);

// The levels of the family that this library is built for, lowest first.
const std::vector<CpuIsa>& known_isas();

// The highest level that the processor and the operating system support. Linux lends tiles only to a process
// that asks for them; the first call does. Any thread.
CpuIsa processor_isa();

// The level that a value of FLOWCACHE_MAX_CPU_ISA stands for. The value is the name of a known
// level; "baseline" is the lowest everywhere; null, "" and "native" set no limit. Throws
// FC_ERROR_ARGUMENT for anything else.
CpuIsa parse_isa(const char* value);

// The lower of processor_isa() and FLOWCACHE_MAX_CPU_ISA. The variable is read until a call finds a
// valid value in it, and not again. Throws FC_ERROR_ARGUMENT as parse_isa() does. Any thread; costs
// nothing after that call.
CpuIsa allowed_isa();

}  // namespace flowcache
