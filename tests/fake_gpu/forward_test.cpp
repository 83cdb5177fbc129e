// SPDX-License-Identifier: LGPL-2.1-or-later
// What one forward pass gives the GPU to do, with the kernels of libflowcache-kernels-cuda.so. A chunk of four steps has
// one pass more than a chunk of three, and nothing else but a step of the sampler.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "fixture.h"

using namespace fake_gpu_test;

namespace {

void replace(std::string& text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
}

// A chunk in the steady state, of the model with its four steps or without the last of them.
FakeGpuCounts of_chunk(bool all_steps) {
  const Template wan("self-forcing-1.3b");
  if (!all_steps) {
    const std::string file = wan.model().substr(wan.model().find(':') + 1) + "/model.json";
    std::stringstream text;
    text << std::ifstream(file).rdbuf();
    std::string json = text.str();
    replace(json, "\"steps\": 4", "\"steps\": 3");
    replace(json, ",\n   250", "");
    std::ofstream(file) << json;
  }
  const Asked asked{.model = wan.model(), .width = 0, .height = 0};
  const Engine engine = open_engine(asked);
  const Stream stream = open_stream(engine, asked);
  if (!stream) return {};
  for (int i = 0; i < 3; ++i) next(stream);
  const FakeGpuCounts begin = counts();
  next(stream);
  return between(begin, counts());
}

TEST(Forward, OfWanTakesFewLaunches) {
#ifndef REAL_MODULE
  GTEST_SKIP() << "no nvcc was found, so there are no CUDA kernels";
#endif
  const FakeGpuCounts one = between(of_chunk(false), of_chunk(true));
  std::printf("one forward pass of Wan 1.3B: %ld launches, %ld copies on the device, %ld syncs\n",
              one.launches, one.on_device, one.syncs);
  EXPECT_GT(one.launches, 300);  // a block has eight matrix products and two attentions
  EXPECT_LE(one.launches, 660);  // 2124 with LibTorch's operators
  EXPECT_LE(one.syncs, 1);
}

// The third chunk only adds to the history, the tenth also drops tokens of every layer, key and value. There the sink also moves
// along, because the model was trained on 21 frames: a few operators of LibTorch for each group of layers.
TEST(Forward, ClosingUpTheHistoryIsOneLaunchAndTurningItFew) {
#ifndef REAL_MODULE
  GTEST_SKIP() << "no nvcc was found, so there are no CUDA kernels";
#endif
  const Template wan("self-forcing-1.3b");
  const Asked asked{.model = wan.model(), .width = 0, .height = 0};
  const Engine engine = open_engine(asked);
  const Stream stream = open_stream(engine, asked);
  FakeGpuCounts of[2]{};
  for (int chunk = 0; chunk < 10; ++chunk) {
    const FakeGpuCounts begin = counts();
    next(stream);
    if (chunk == 2) of[0] = between(begin, counts());
    if (chunk == 9) of[1] = between(begin, counts());
  }
  std::printf("closing up the history: %ld launches, %ld uploads, %ld copies on the device\n",
              of[1].launches - of[0].launches, of[1].to_device - of[0].to_device,
              of[1].on_device - of[0].on_device);
  const long turned = of[1].launches - of[0].launches - 1;
  EXPECT_GT(turned, 0);
  EXPECT_LE(turned, 100);
  EXPECT_EQ(of[1].to_device - of[0].to_device, 3);  // two of them the angles
  EXPECT_EQ(of[1].on_device - of[0].on_device, 0);
}

// A process looks for the module once: each case has one of its own, begun anew. Prints what the log says, and the
// status and sentence of a chunk, or its launches.
void make_a_chunk_with(const char* module) {
  setenv("FLOWCACHE_CUDA_KERNELS", module, 1);
  fc_set_log_function(
      [](void*, fc_log_level, const char* message) { std::fprintf(stderr, "log: %s\n", message); }, nullptr);
  const Engine engine = open_engine({});
  const Stream stream = open_stream(engine, {.steps = 4});
  fc_chunk* chunk = nullptr;
  const fc_status status = fc_stream_next(stream.get(), &chunk);
  if (status != FC_OK) std::fprintf(stderr, "status %d: %s\n", status, fc_last_error());
  fc_chunk_unref(chunk);
  std::_Exit(status == FC_OK ? 0 : 1);
}

TEST(ForwardDeathTest, WithoutTheModuleLibTorchsOperatorsDoItsWork) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(make_a_chunk_with("/no/such/module.so"), testing::ExitedWithCode(0),
              "log: .*LibTorch's operators.*/no/such/module\\.so");
}

TEST(ForwardDeathTest, ACardThatTheModuleHasNoCodeForIsLibTorchs) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(make_a_chunk_with(MODULE_WITHOUT_CODE), testing::ExitedWithCode(0),
              "log: .*has no code for cuda:0 \\(CUDA error 209\\)");
}

TEST(ForwardDeathTest, AKernelThatFailsIsAnErrorOfTheChunk) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(make_a_chunk_with(MODULE_THAT_FAILS), testing::ExitedWithCode(1),
              "status .*cannot run on cuda:0: CUDA error 700.*FLOWCACHE_CUDA_KERNELS");
}

}  // namespace
