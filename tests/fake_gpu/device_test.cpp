// SPDX-License-Identifier: LGPL-2.1-or-later
// Which device an engine gets, and what is said where it cannot be had.
#include "fixture.h"

using namespace fake_gpu_test;

namespace {

// LibTorch decides at its first convolution whether there is CUDA, for the life of the process. gtest runs this test
// before the others of the program that could open the CUDA half.
TEST(AFirstTest, ACpuEngineThatHasDecodedLeavesTheGpuUsable) {
  {
    const Engine engine = open_engine({.device = "cpu"});
    const Stream stream = open_stream(engine, {.steps = 4});
    next(stream);
  }
  fc_status status = FC_OK;
  const Engine engine = open_engine({.device = "cuda"}, &status);
  ASSERT_EQ(status, FC_OK) << fc_last_error();
  next(open_stream(engine, {.steps = 4}));
  const Engine other = open_engine({.device = "auto"});
  EXPECT_STREQ(fc_engine_device(other.get()), "cuda:0");
}

TEST(Device, AnIndexOutOfRangeIsRefusedAndTheOthersGoOn) {
  for (const char* device : {"cuda:1", "cuda:99", "cuda:-1", "cuda:x", "cuda:"}) {
    fc_status status = FC_OK;
    const Engine engine = open_engine({.device = device}, &status);
    EXPECT_EQ(status, FC_ERROR_DEVICE) << device;
    EXPECT_EQ(engine, nullptr);
    EXPECT_NE(std::string(fc_last_error()).find("there are 1 GPUs"), std::string::npos) << fc_last_error();
  }
  next(open_stream(open_engine({.device = "cpu"}), {.steps = 4}));
}

}  // namespace
