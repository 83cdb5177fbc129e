// SPDX-License-Identifier: LGPL-2.1-or-later
// Every policy runs on CUDA's dispatch, and the work that a chunk gives the GPU has bounds.
#include <map>
#include <vector>

#include "fixture.h"

using namespace fake_gpu_test;

namespace {

std::vector<std::string> policies(fc_policy_kind kind) {
  std::vector<std::string> names;
  fc_policy_info info = fc_policy_info_init();
  for (uint32_t i = 0; fc_policy_describe(i, &info) == FC_OK; ++i)
    if (info.kind == kind) names.emplace_back(info.name);
  return names;
}

// Not an operator on tensors of two devices, not a touch of the host, not a type that CUDA lacks; and nothing is
// allocated once it runs.
TEST(Policies, EveryOneRunsOnTheGpu) {
  const Engine engine = open_engine({});
  for (const std::string& cache : policies(FC_POLICY_REUSE)) {
    const Stream stream =
        open_stream(engine, {.cache = cache, .guidance = cache == "fastercache" ? 3.0 : FC_AUTO});
    if (!stream) continue;
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(next(stream)) << cache;
    const FakeGpuCounts begin = counts();
    ASSERT_TRUE(next(stream)) << cache;
    EXPECT_EQ(between(begin, counts()).mallocs, 0) << cache;
  }
  const Engine small = open_engine({.kv_precision = "int8"});
  std::vector<std::string> histories = policies(FC_POLICY_KV);
  histories.emplace_back("window:sink_frames=1,positions=relative");
  for (const Engine* one : {&engine, &small})
    for (const std::string& kv : histories) {
      const Stream stream = open_stream(*one, {.kv = kv});
      for (int i = 0; i < 5 && kv != "full"; ++i) ASSERT_TRUE(next(stream)) << kv;
    }
  for (const char* cache :
       {"attention+cfg_cache", "dbcache+offload", "attention+offload", "teacache+offload"}) {
    const Stream stream = open_stream(engine, {.cache = cache, .guidance = 3});
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(next(stream)) << cache;
  }
}

struct Budget {
  const char* name;      // of a template; "": the model that ships, at 256 x 160
  const char* kv;        // "": the model's
  long launches, syncs;  // at most, of a chunk in the steady state
  long copies;           // between host and device, both ways
};

// What a chunk costs beside the network's arithmetic. Lower a number when it has become possible, never raise one.
constexpr Budget kBudgets[] = {
    {"", "", 4800, 2, 56},
    {"self-forcing-1.3b", "", 4300, 2, 15},
    {"self-forcing-1.3b", "flowcache", 4450, 2, 15},
    {"skyreels-v2-df-1.3b-540p", "window", 64400, 2, 108},
    {"skyreels-v2-df-1.3b-540p", "", 68300, 3, 168},
    {"magi-1-4.5b-distill", "", 89600, 2, 38},
};

TEST(Budgets, OfAChunkInTheSteadyState) {
  std::printf("%-28s %-10s %9s %6s %9s %8s %8s\n", "model", "kv", "launches", "syncs", "to device", "to host",
              "peak MB");
  for (const Budget& budget : kBudgets) {
    const bool ships = *budget.name == '\0';
    std::unique_ptr<Template> random;
    Asked asked;
    if (!ships) {
      random = std::make_unique<Template>(budget.name);
      asked.model = random->model();
      asked.width = asked.height = 0;
    }
    asked.kv = budget.kv;
    restart_peak();
    const Engine engine = open_engine(asked);
    const Stream stream = open_stream(engine, asked);
    for (int i = 0; i < 5; ++i) next(stream);
    const FakeGpuCounts begin = counts();
    next(stream);
    const FakeGpuCounts chunk = between(begin, counts());
    std::printf("%-28s %-10s %9ld %6ld %9ld %8ld %8ld\n", ships ? "ambient" : budget.name, budget.kv,
                chunk.launches, chunk.syncs, chunk.to_device, chunk.to_host, counts().peak / 1'000'000);
#ifdef REAL_MODULE  // else LibTorch's operators stand in for the fused kernels
    EXPECT_LE(chunk.launches, budget.launches) << budget.name << budget.kv;
#endif
    EXPECT_LE(chunk.syncs, budget.syncs) << budget.name << budget.kv;
    EXPECT_LE(chunk.to_device + chunk.to_host, budget.copies) << budget.name << budget.kv;
  }
}

// Policies that follow a plan wait for nothing; those that decide by a distance read one number for each step that they
// decide about. Some read more, which is named here, for each step.
TEST(Budgets, OfHostSyncsByPolicy) {
  const std::map<std::string, long> numbers = {
      {"none", 0},      {"interval", 0}, {"ramp", 0},      {"scm", 0},        {"magcache", 0},
      {"forecast", 0},  {"auto", 0},     {"attention", 0}, {"lightcache", 0}, {"taylorseer", 0},
      {"easycache", 4}, {"mixcache", 2}, {"xchunk", 2},    {"xcache", 2}};
  const Engine engine = open_engine({});
  std::printf("%-16s %6s %6s\n", "policy", "steps", "syncs");
  for (const std::string& cache : policies(FC_POLICY_REUSE)) {
    if (cache == "fastercache") continue;  // needs guidance; it is `attention` with another part
    const Stream stream = open_stream(engine, {.cache = cache});
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(next(stream)) << cache;
    const FakeGpuCounts begin = counts();
    const Chunk chunk = next(stream);
    const long syncs = between(begin, counts()).syncs;
    fc_chunk_info info = fc_chunk_info_init();
    ASSERT_EQ(fc_chunk_describe(chunk.get(), &info), FC_OK);
    const long steps = info.steps_computed + info.steps_reused;
    std::printf("%-16s %6ld %6ld\n", cache.c_str(), steps, syncs);
    const auto known = numbers.find(cache);
    EXPECT_LE(syncs, 2 + steps * (known == numbers.end() ? 1 : known->second)) << cache;
  }
}

TEST(Budgets, OfAllFramesOfAChunkIntoHostMemory) {
  const Engine engine = open_engine({});
  const Stream stream = open_stream(engine, {});
  const Chunk chunk = next(stream);
  fc_chunk_info info = fc_chunk_info_init();
  ASSERT_EQ(fc_chunk_describe(chunk.get(), &info), FC_OK);
  std::vector<uint8_t> y(size_t{info.width} * info.height), uv(y.size() / 2);
  fc_planes planes = fc_planes_init();
  planes.format = FC_FORMAT_NV12;
  planes.plane[0] = y.data();
  planes.plane[1] = uv.data();
  planes.stride[0] = planes.stride[1] = info.width;
  const FakeGpuCounts begin = counts();
  for (uint32_t frame = 0; frame < info.frames; ++frame)
    ASSERT_EQ(fc_chunk_write(chunk.get(), frame, &planes), FC_OK) << fc_last_error();
  const FakeGpuCounts used = between(begin, counts());
  std::printf("%u frames to host memory: %ld copies, %ld bytes, %ld syncs\n", info.frames, used.to_host,
              used.to_host_bytes, used.syncs);
  EXPECT_EQ(used.to_host, 1);
  EXPECT_LE(used.syncs, 1);
  // The next chunk's copy is begun before the chunk leaves the stream, so nothing waits for the chunk after it, only for
  // the chunk's own decoding.
  const Chunk second = next(stream);
  const FakeGpuCounts later = counts();
  ASSERT_EQ(fc_chunk_write(second.get(), 0, &planes), FC_OK) << fc_last_error();
  EXPECT_EQ(between(later, counts()).to_host, 0);
  EXPECT_LE(between(later, counts()).syncs, 1);
  const FakeGpuCounts there = counts();
  ASSERT_EQ(fc_chunk_write(second.get(), 1, &planes), FC_OK) << fc_last_error();
  EXPECT_EQ(between(there, counts()).syncs, 0);
}

}  // namespace
