// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/cpu_report.h"

#include <ATen/Version.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>

#include "cpu_isa.h"
#include "simd/number_type.h"

namespace flowcache {

namespace {

const char* onednn_limit() {
  const char* value = std::getenv("ONEDNN_MAX_CPU_ISA");
  if (!value) value = std::getenv("DNNL_MAX_CPU_ISA");  // the older name of the variable
  return value ? value : "";
}

std::string why_emulated(const CpuReport& cpu) {
  if (processor_isa() < CpuIsa::avx512bf16)
    return "this processor has no instructions for it (it has " + cpu.processor +
           ", and AVX512-BF16 is needed)";
  if (allowed_isa() < CpuIsa::avx512bf16)
    return "FLOWCACHE_MAX_CPU_ISA=" + cpu.kernels + " forbids its instructions";
  if (!onednn_limit_leaves_bf16(onednn_limit()))
    return "ONEDNN_MAX_CPU_ISA=" + cpu.onednn + " forbids its instructions";
  if (simd::fastest_bf16() == simd::NumberType::bf16_widened)
    return "this processor's instructions for it (AVX512-BF16) are slower than those for fp32";
  if (cpu.libtorch != "AVX512") return "ATEN_CPU_CAPABILITY limits LibTorch to " + cpu.libtorch;
  return "";
}

}  // namespace

bool onednn_limit_leaves_bf16(const char* value) {
  std::string limit = value ? value : "";
  std::transform(limit.begin(), limit.end(), limit.begin(), [](unsigned char c) { return std::toupper(c); });
  constexpr std::array<std::string_view, 7> below = {
      "SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"};
  return std::find(below.begin(), below.end(), limit) == below.end();
}

const CpuReport& cpu_report() {
  static const CpuReport report = [] {
    CpuReport cpu{name_of(processor_isa()), name_of(allowed_isa()), at::get_cpu_capability(), onednn_limit(),
                  ""};
    if (cpu.onednn.empty()) cpu.onednn = "all";
    cpu.bf16_emulated = why_emulated(cpu);
    return cpu;
  }();
  return report;
}

}  // namespace flowcache
