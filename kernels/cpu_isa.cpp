// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cpu_isa.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "base/error.h"

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace flowcache {

#if defined(__x86_64__)
namespace {

bool has_tiles() {
#if defined(__linux__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned bf16 = 1u << 22, tile = 1u << 24;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & bf16) || !(d & tile)) return false;
  constexpr long request = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, request, tile_data) == 0;
#else
  return false;
#endif
}

}  // namespace
#endif

const char* name_of(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::baseline:
#if defined(__aarch64__)
      return "neon";
#else
      return "baseline";
#endif
    case CpuIsa::avx2:
      return "avx2";
    case CpuIsa::avx512:
      return "avx512";
    case CpuIsa::avx512bf16:
      return "avx512bf16";
    case CpuIsa::amx:
      return "amx";
    case CpuIsa::sve:
      return "sve";
  }
  return "";
}

const std::vector<CpuIsa>& known_isas() {
#if defined(__x86_64__)
  static const std::vector<CpuIsa> known = {CpuIsa::baseline, CpuIsa::avx2, CpuIsa::avx512,
                                            CpuIsa::avx512bf16, CpuIsa::amx};
#elif defined(__aarch64__)
  static const std::vector<CpuIsa> known = {CpuIsa::baseline, CpuIsa::sve};
#else
  static const std::vector<CpuIsa> known = {CpuIsa::baseline};
#endif
  return known;
}

CpuIsa processor_isa() {
#if defined(__x86_64__)
  // These also ask the operating system, which must save the wide registers when threads change.
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("f16c") ||
      !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2"))
    return CpuIsa::baseline;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512cd") || !__builtin_cpu_supports("avx512dq") ||
      !__builtin_cpu_supports("avx512vl"))
    return CpuIsa::avx2;
  if (!__builtin_cpu_supports("avx512bf16")) return CpuIsa::avx512;
  static const bool tiles = has_tiles();
  return tiles ? CpuIsa::amx : CpuIsa::avx512bf16;
#elif defined(__aarch64__) && defined(__linux__)
  return (getauxval(AT_HWCAP) & HWCAP_SVE) ? CpuIsa::sve : CpuIsa::baseline;
#else
  return CpuIsa::baseline;
#endif
}

CpuIsa parse_isa(const char* value) {
  const std::string_view wanted = value ? value : "";
  const auto& known = known_isas();
  if (wanted.empty() || wanted == "native") return known.back();
  if (wanted == "baseline") return known.front();
  std::string names;
  for (const CpuIsa isa : known) {
    if (wanted == name_of(isa)) return isa;
    names += std::string(name_of(isa)) + ", ";
  }
  throw Error(FC_ERROR_ARGUMENT, "FLOWCACHE_MAX_CPU_ISA=\"" + std::string(wanted) +
                                     "\" is unknown; use one of " + names + "native, or unset it");
}

CpuIsa allowed_isa() {
  static const CpuIsa allowed = std::min(processor_isa(), parse_isa(std::getenv("FLOWCACHE_MAX_CPU_ISA")));
  return allowed;
}

}  // namespace flowcache
