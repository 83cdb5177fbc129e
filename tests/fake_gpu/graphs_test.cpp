// SPDX-License-Identifier: LGPL-2.1-or-later
// Blocks as CUDA graphs: in the steady state a chunk is a few launches, and whatever changes shapes, addresses or what has
// to run makes the engine fall back or note anew. The stand-in refuses what must not happen while a graph is noted.
#include <map>

#include "fixture.h"
#include "order.h"

using namespace fake_gpu_test;

namespace {

constexpr long kSteps = 4;

Asked with_graphs(const std::string& cache = "none") {
  return {.cache = cache, .steps = kSteps, .graphs = 1};
}

FakeGpuCounts of_next(const Stream& stream) {
  const FakeGpuCounts begin = counts();
  next(stream);
  return between(begin, counts());
}

// Chunks until one runs graphs; at most 12.
int until_graphs(const Stream& stream) {
  for (int i = 0; i < 12; ++i)
    if (of_next(stream).graphs_run > 0) return i;
  return 12;
}

void prompt(const Stream& stream, const std::string& text) {
  fc_prompt_change change = fc_prompt_change_init();
  change.text = text.c_str();
  change.at_chunk = FC_NEXT_CHUNK;
  EXPECT_EQ(fc_stream_prompt(stream.get(), &change, nullptr), FC_OK) << fc_last_error();
}

// Launches of a chunk on the stream of its steps, without decoding.
long step_launches(const Stream& stream) {
  const Notes notes;
  next(stream);
  const Order order;
  std::map<void*, long> launches;
  for (long i = 0; i < order.size(); ++i)
    if (order[i].kind == FAKE_GPU_LAUNCH) ++launches[order[i].stream];
  // The steps are what begins.
  for (long i = 0; i < order.size(); ++i)
    if (order[i].kind == FAKE_GPU_LAUNCH) return launches[order[i].stream];
  return 0;
}

TEST(Graphs, TheSteadyStateIsAHandfulOfLaunches) {
  const Engine engine = open_engine({});
  const Stream plain = open_stream(engine, {.steps = kSteps});
  const Stream stream = open_stream(engine, with_graphs());
  const long forbidden = counts().forbidden;
  ASSERT_LT(until_graphs(stream), 12);
  of_next(stream);
  const FakeGpuCounts chunk = of_next(stream);
  EXPECT_GE(chunk.graphs_run, kSteps);
  EXPECT_EQ(chunk.noted, 0);
  EXPECT_EQ(chunk.mallocs, 0);
  EXPECT_LE(chunk.syncs, 2);
  EXPECT_EQ(counts().forbidden, forbidden);
  for (int i = 0; i < 4; ++i) next(plain);
  const long alone = step_launches(plain), together = step_launches(stream);
  std::printf("a chunk's steps: %ld launches, with graphs %ld\n", alone, together);
  EXPECT_LT(together, 60 * (kSteps + 1));
  EXPECT_GT(alone, 3 * together);
}

TEST(Graphs, AreOnOrOff) {
  const Engine engine = open_engine({});
  fc_status status = FC_OK;
  open_stream(engine, {.graphs = 2}, &status);
  EXPECT_EQ(status, FC_ERROR_ARGUMENT);
  EXPECT_NE(std::string(fc_last_error()).find("graphs=2 is outside 0..1"), std::string::npos)
      << fc_last_error();
  const Engine cpu = open_engine({.device = "cpu"});
  next(open_stream(cpu, with_graphs()));
}

TEST(Graphs, ANewPromptAndAResetRunAsTheyAreAtFirst) {
  const Engine engine = open_engine({});
  const Stream stream = open_stream(engine, with_graphs());
  ASSERT_LT(until_graphs(stream), 12);
  EXPECT_GE(of_next(stream).graphs_run, kSteps);
  prompt(stream, "blue water");
  EXPECT_EQ(of_next(stream).graphs_run, 0) << "a graph reads the keys of its own prompt";
  EXPECT_LT(until_graphs(stream), 12);
  ASSERT_EQ(fc_stream_reset(stream.get(), 7), FC_OK);
  EXPECT_EQ(of_next(stream).graphs_run, 0);
  EXPECT_LT(until_graphs(stream), 12);
}

TEST(Graphs, TheirNumberHasABound) {
  const Engine engine = open_engine({});
  const Stream stream = open_stream(engine, with_graphs());
  ASSERT_LT(until_graphs(stream), 12);
  const auto change = [&](int times) {
    for (int i = 0; i < times; ++i) {
      prompt(stream, i % 2 ? "blue water" : "green forest");
      EXPECT_LT(until_graphs(stream), 12);
    }
  };
  change(3);
  const long before = counts().used;
  change(4);
  EXPECT_EQ(counts().used, before);
}

// Every policy runs with graphs, and computes the same steps as without.
TEST(Graphs, EveryPolicyRunsWithThem) {
  const Engine engine = open_engine({});
  const long forbidden = counts().forbidden;
  fc_policy_info info = fc_policy_info_init();
  std::vector<std::string> specs = {"attention+cfg_cache", "dbcache+offload"};
  for (uint32_t i = 0; fc_policy_describe(i, &info) == FC_OK; ++i)
    if (info.kind == FC_POLICY_REUSE && std::string(info.name) != "auto") specs.emplace_back(info.name);
  for (const std::string& cache : specs) {
    Asked asked = with_graphs(cache);
    asked.guidance = 3;
    const Stream stream = open_stream(engine, asked);
    asked.graphs = 0;
    const Stream plain = open_stream(engine, asked);
    for (int i = 0; i < 6; ++i) {
      const Chunk with = next(stream), without = next(plain);
      fc_chunk_info one = fc_chunk_info_init(), other = fc_chunk_info_init();
      ASSERT_EQ(fc_chunk_describe(with.get(), &one), FC_OK);
      ASSERT_EQ(fc_chunk_describe(without.get(), &other), FC_OK);
      EXPECT_EQ(std::vector<uint8_t>(one.decisions, one.decisions + kSteps),
                std::vector<uint8_t>(other.decisions, other.decisions + kSteps))
          << cache << ", chunk " << i;
    }
  }
  EXPECT_EQ(counts().forbidden, forbidden);
}

}  // namespace
