// SPDX-License-Identifier: LGPL-2.1-or-later
// Which module of CUDA kernels is used, and what is said of one that is not. A process looks for it once, so each case
// has a process of its own, begun anew.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "base/log.h"
#include "cuda_kernels.h"
#include "norm_modulate.h"

namespace flowcache {
namespace {

// Prints why there is no module, then what the log says when it is asked for twice, and then works on the CPU. Ends
// with 0 if all that went as it should.
void ask_for(const std::string& module) {
  setenv("FLOWCACHE_CUDA_KERNELS", module.c_str(), 1);
  static int logged = 0;
  set_log_function(
      [](void*, fc_log_level, const char* message) {
        ++logged;
        std::fprintf(stderr, "log: %s\n", message);
      },
      nullptr);
  bool refused = false;
  try {
    CudaKernels::get();
  } catch (const Error& error) {
    refused = error.status() == FC_ERROR_DEVICE;
    std::fprintf(stderr, "error: %s\n", error.what());
  }
  const bool found = CudaKernels::find() || CudaKernels::find();
  const at::Tensor x = at::randn({3, 8});
  const at::Tensor y = norm_modulate(x, at::ones({1, 8}), at::zeros({1, 8}), {}, 1e-6, at::kFloat);
  const bool cpu_works = std::abs(y.mean().item<float>()) < 1e-5;
  std::exit(refused && !found && logged == 1 && cpu_works ? 0 : 1);
}

void expect_refused(const std::string& module, const std::string& reason) {
  EXPECT_EXIT(ask_for(module), testing::ExitedWithCode(0),
              "error: .*FC_MEMORY_HOST.*" + reason + "(.|\n)*log: .*LibTorch's operators.*" + reason)
      << module;
}

class CudaModuleDeathTest : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(CudaModuleDeathTest, NoneIsNamedOnceAndTheCpuWorks) {
  expect_refused("/no/such/module.so", "/no/such/module\\.so");
}

TEST_F(CudaModuleDeathTest, WhatIsNoModuleIsNamed) {
  expect_refused("libc.so.6", "libc\\.so\\.6 has no fc_cuda_kernels_version, so it is not this module");
  expect_refused(FLOWCACHE_SOURCE_DIR "/LICENSE", "LICENSE: invalid ELF header");
}

TEST_F(CudaModuleDeathTest, AnotherVersionIsNamedWithTheRightOne) {
  const std::string wanted =
      "needs version " + std::to_string(FC_CUDA_KERNELS_VERSION) + ": take both from one build";
  expect_refused(MODULE_OF_VERSION_99, "is of version 99, this library " + wanted);
  expect_refused(MODULE_WITHOUT_VERSION, "is older than its version numbers; this library " + wanted);
}

TEST_F(CudaModuleDeathTest, OneThatLacksAFunctionIsNamedWithIt) {
  expect_refused(MODULE_WITHOUT_FUNCTIONS, "has no fc_cuda_color_convert: build it again");
}

#ifdef REAL_MODULE
// There is no GPU here, so nothing of it runs: it is found complete, and of this version.
TEST_F(CudaModuleDeathTest, TheRealOneIsTaken) {
  const auto take = [] {
    setenv("FLOWCACHE_CUDA_KERNELS", REAL_MODULE, 1);
    std::exit(CudaKernels::find() == &CudaKernels::get() ? 0 : 1);
  };
  EXPECT_EXIT(take(), testing::ExitedWithCode(0), "");
}
#endif

}  // namespace
}  // namespace flowcache
