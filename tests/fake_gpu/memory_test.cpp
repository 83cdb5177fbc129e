// SPDX-License-Identifier: LGPL-2.1-or-later
// Device memory: asked for before it is taken, bounded, and given back.
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "fixture.h"

using namespace fake_gpu_test;

namespace {

constexpr long kMegabyte = 1'000'000;

// For the length of a test the GPU has this much.
struct GpuBytes {
  explicit GpuBytes(long bytes) { setenv("FAKE_GPU_BYTES", std::to_string(bytes).c_str(), 1); }
  ~GpuBytes() { unsetenv("FAKE_GPU_BYTES"); }
};

TEST(Memory, IsGivenBackAfterTheLastUnref) {
  const Template wan("self-forcing-1.3b");
  const Asked asked{.model = wan.model(), .width = 0, .height = 0};
  const long before = counts().used;
  next(open_stream(open_engine(asked), asked));
  // cuBLAS keeps a workspace for each stream of the device that was ever used at a time.
  const long left = counts().used;
  EXPECT_LT(left - before, 128 * kMegabyte);
  next(open_stream(open_engine(asked), asked));
  EXPECT_EQ(counts().used, left);
}

// The third chunk is the first one in whose time the frames of another chunk with as many are still there. The seventh is the
// first that drops history and turns keys.
TEST(Memory, OnlyTheFirstChunksAllocate) {
  for (const char* name : {"self-forcing-1.3b"}) {
    const Template one(name);
    const Asked asked{.model = one.model(), .cache = "flowcache", .width = 0, .height = 0};
    const Engine engine = open_engine(asked);
    const Stream stream = open_stream(engine, asked);
    const auto chunks = [&](int count) {
      const FakeGpuCounts begin = counts();
      for (int i = 0; i < count; ++i) next(stream);
      return between(begin, counts()).mallocs;
    };
    chunks(3);
    EXPECT_EQ(chunks(3), 0) << name;
    EXPECT_LE(chunks(1), 2) << name;
    EXPECT_EQ(chunks(5), 0) << name;
  }
}

TEST(Memory, AModelThatDoesNotFitIsRefusedBeforeAnythingIsAllocated) {
  const Template wan("self-forcing-1.3b");
  const Asked asked{.model = wan.model(), .width = 0, .height = 0};
  const FakeGpuCounts begin = counts();
  const GpuBytes small(begin.used + 2000 * kMegabyte);
  fc_status status = FC_OK;
  const Engine engine = open_engine(asked, &status);
  EXPECT_EQ(status, FC_ERROR_MEMORY);
  const std::string message = fc_last_error();
  EXPECT_NE(message.find("cuda:0"), std::string::npos) << message;
  EXPECT_NE(message.find("transformer"), std::string::npos) << message;
  EXPECT_EQ(between(begin, counts()).mallocs, 0);
  next(open_stream(open_engine({.device = "cpu"}), {.steps = 4}));
}

TEST(Memory, AStreamThatDoesNotFitIsRefusedAndTheFirstGoesOn) {
  const Template wan("self-forcing-1.3b");
  const Asked asked{.model = wan.model(), .width = 0, .height = 0};
  const Engine engine = open_engine(asked);
  const Stream first = open_stream(engine, asked);
  next(first);
  {
    // What LibTorch keeps unused may be enough for some.
    const GpuBytes full(counts().used);
    std::vector<Stream> others;
    fc_status status = FC_OK;
    while (status == FC_OK && others.size() < 100) others.push_back(open_stream(engine, asked, &status));
    EXPECT_EQ(status, FC_ERROR_MEMORY);
    EXPECT_NE(std::string(fc_last_error()).find("keys and values"), std::string::npos) << fc_last_error();
  }
  next(first);
}

// LibTorch's allocator throws in the middle of a chunk: one sentence, and the process lives.
TEST(Memory, OutOfItInTheMiddleIsAnErrorOfTheChunk) {
  const Template wan("self-forcing-1.3b");
  const Asked asked{.model = wan.model(), .width = 0, .height = 0};
  const Engine engine = open_engine(asked);
  const Stream stream = open_stream(engine, asked);
  {
    const GpuBytes full(counts().used + 1 * kMegabyte);
    fc_chunk* chunk = nullptr;
    EXPECT_EQ(fc_stream_next(stream.get(), &chunk), FC_ERROR_MEMORY) << fc_last_error();
    EXPECT_NE(std::string(fc_last_error()), "");
    EXPECT_EQ(chunk, nullptr);
  }
  next(stream);
}

// Models whose decoders need no cuDNN: its workspaces are not counted here.
TEST(Memory, StaysWithinWhatThePreflightSays) {
  const Template magi("magi-1-4.5b-distill");
  const std::pair<std::string, std::string> cases[] = {
      {kAmbient, "full"}, {magi.model(), "full"}, {magi.model(), "int8"}};
  for (const auto& [model, kv_precision] : cases) {
    const std::string name = (model == kAmbient ? "ambient, KV " : "magi-1-4.5b-distill, KV ") + kv_precision;
    const Asked asked{.model = model, .width = 0, .height = 0, .kv_precision = kv_precision};
    const long before = counts().used;
    restart_peak();
    {
      const Engine engine = open_engine(asked);
      const Stream stream = open_stream(engine, asked);
      next(stream);
      next(stream);
    }
    const long peak = counts().peak - before;
    // The preflight's own sum, found by asking with less memory each time would take long: the refusal names it.
    fc_status status = FC_OK;
    Asked limited = asked;
    limited.memory_limit = 1;
    open_engine(limited, &status);
    ASSERT_EQ(status, FC_ERROR_MEMORY);
    const std::string message = fc_last_error();
    const size_t at = message.find("need ");
    ASSERT_NE(at, std::string::npos) << message;
    const double planned = std::strtod(message.c_str() + at + 5, nullptr);
    std::printf("%-28s peak %6ld MB, planned %6.0f MB\n", name.c_str(), peak / kMegabyte, planned);
    constexpr double kLibTorchsOwn =
        128;  // workspaces of cuBLAS, and blocks of the allocator that are not full
    EXPECT_LE(static_cast<double>(peak) / kMegabyte, planned + kLibTorchsOwn) << name;
  }
}

}  // namespace
