// SPDX-License-Identifier: LGPL-2.1-or-later
// Which instructions the arithmetic on the CPU uses: our kernels, LibTorch's and oneDNN's, each with its own
// limit.
#pragma once

#include <string>

namespace flowcache {

struct CpuReport {
  std::string processor;  // name_of(processor_isa())
  std::string kernels;    // name_of(allowed_isa())
  std::string
      libtorch;  // "DEFAULT", "AVX2", "AVX512", …: LibTorch's own loops, limited by ATEN_CPU_CAPABILITY
  std::string onednn;  // "all", or the value of ONEDNN_MAX_CPU_ISA, which limits LibTorch's products of bf16
  // Why products of bf16 would be emulated: no faster than fp32. "" where all of the above have instructions
  // for them.
  std::string bf16_emulated;
};

// Asked once. Error (FC_ERROR_ARGUMENT) if FLOWCACHE_MAX_CPU_ISA is unknown. Any thread.
const CpuReport& cpu_report();

// Whether a value of ONEDNN_MAX_CPU_ISA leaves instructions for bf16; null and "": yes. Case does not matter,
// as for oneDNN, which takes an unknown value for no limit.
bool onednn_limit_leaves_bf16(const char* value);

}  // namespace flowcache
