// SPDX-License-Identifier: LGPL-2.1-or-later
// Which instructions the arithmetic on the CPU uses. This project's kernels, LibTorch and oneDNN each have a
// limit of their own.
#pragma once

#include <string>

namespace flowcache {

struct CpuReport {
  std::string processor;  // name_of(processor_isa())
  std::string kernels;    // name_of(allowed_isa())
  // "DEFAULT", "AVX2", "AVX512", …: used by LibTorch's own loops; ATEN_CPU_CAPABILITY limits it.
  std::string libtorch;
  std::string onednn;  // "all", or the value of ONEDNN_MAX_CPU_ISA, which limits LibTorch's bf16 products
  // The reason why bf16 products are emulated here, and so no faster than fp32. "" if they are not: all of
  // the above have instructions for them, and they are faster.
  std::string bf16_emulated;
};

// The report of this process, made at the first call. Throws FC_ERROR_ARGUMENT if FLOWCACHE_MAX_CPU_ISA is
// unknown. Any thread.
const CpuReport& cpu_report();

// True if this value of ONEDNN_MAX_CPU_ISA allows bf16 instructions; also for null and "". Case does not
// matter. oneDNN ignores an unknown value, so that gives true, too.
bool onednn_limit_leaves_bf16(const char* value);

}  // namespace flowcache
