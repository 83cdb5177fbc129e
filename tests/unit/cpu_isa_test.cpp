// SPDX-License-Identifier: LGPL-2.1-or-later
// The limit on the instructions of the CPU kernels.
#include "cpu_isa.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/error.h"

namespace flowcache {
namespace {

TEST(CpuIsa, EveryLevelIsFoundByItsName) {
  ASSERT_FALSE(known_isas().empty());
  for (const CpuIsa isa : known_isas()) EXPECT_EQ(parse_isa(name_of(isa)), isa) << name_of(isa);
  EXPECT_EQ(parse_isa("baseline"), known_isas().front());
}

TEST(CpuIsa, NothingAndNativeSetNoLimit) {
  for (const char* value : {static_cast<const char*>(nullptr), "", "native"})
    EXPECT_EQ(parse_isa(value), known_isas().back());
}

TEST(CpuIsa, AnUnknownValueIsRefusedWithTheAllowedOnes) {
  for (const char* value : {"avx9", "AVX2", " avx2", "avx512,avx2", "1"}) {
    try {
      parse_isa(value);
      FAIL() << value << " was taken";
    } catch (const Error& error) {
      const std::string said = error.what();
      EXPECT_EQ(error.status(), FC_ERROR_ARGUMENT);
      EXPECT_NE(said.find("FLOWCACHE_MAX_CPU_ISA=\"" + std::string(value) + "\""), std::string::npos) << said;
      for (const CpuIsa isa : known_isas()) EXPECT_NE(said.find(name_of(isa)), std::string::npos) << said;
    }
  }
}

TEST(CpuIsa, AllowedIsTheLowerOfProcessorAndLimit) {
  const CpuIsa limit = parse_isa(std::getenv("FLOWCACHE_MAX_CPU_ISA"));
  EXPECT_EQ(allowed_isa(), std::min(limit, processor_isa()));
}

}  // namespace
}  // namespace flowcache
