// SPDX-License-Identifier: LGPL-2.1-or-later
// Whether bf16 on the CPU has instructions, with the limits of each library.
#include "stream/cpu_report.h"

#include <gtest/gtest.h>

#include "cpu_isa.h"
#include "simd/number_type.h"
#include "stream/device.h"

namespace flowcache {
namespace {

TEST(CpuReport, OneDnnLimitsBelowItsBf16TakeItAway) {
  for (const char* value :
       {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI", "avx2"})
    EXPECT_FALSE(onednn_limit_leaves_bf16(value)) << value;
  for (const char* value : {"", "ALL", "DEFAULT", "AVX512_CORE_BF16", "AVX512_CORE_AMX", "nonsense"})
    EXPECT_TRUE(onednn_limit_leaves_bf16(value)) << value;
  EXPECT_TRUE(onednn_limit_leaves_bf16(nullptr));
}

TEST(CpuReport, AutoIsBf16ExactlyWhereItIsNotEmulated) {
  const CpuReport& cpu = cpu_report();
  EXPECT_EQ(cpu.kernels, name_of(allowed_isa()));
  if (simd::fastest_bf16() == simd::NumberType::bf16_widened) {
    EXPECT_NE(cpu.bf16_emulated, "");
  }
  for (const char* name : {"", "auto"})
    EXPECT_STREQ(name_of(choose_precision(name, at::kCPU)), cpu.bf16_emulated.empty() ? "bf16" : "fp32");
}

// Which of the two is faster differs between processors that have both; that the choice is one of theirs does not.
TEST(CpuReport, Bf16IsMultipliedByInstructionsThatAreAllowed) {
  switch (simd::fastest_bf16()) {
    case simd::NumberType::bf16_tiles:
      EXPECT_EQ(allowed_isa(), CpuIsa::amx);
      break;
    case simd::NumberType::bf16_pairs:
      EXPECT_EQ(allowed_isa(), CpuIsa::avx512bf16);
      break;
    case simd::NumberType::bf16_widened:
      EXPECT_NE(allowed_isa(), CpuIsa::amx);
      break;
    case simd::NumberType::fp32:
      FAIL() << "fp32 is no bf16";
  }
}

}  // namespace
}  // namespace flowcache
