// SPDX-License-Identifier: LGPL-2.1-or-later
// What is split how, and what that sends: by arithmetic, and counted.
#include "parallel/plan.h"

#include <dlfcn.h>

#include "../fake_gpu/runtime/fake_gpu.h"
#include "parallel/door.h"
#include "parallel/team.h"
#include "ranks.h"

using namespace flowcache;
using namespace flowcache::test;

namespace {

TEST(Plan, SharesCoverEverythingOnce) {
  for (const int64_t total : {0, 1, 7, 36, 1560})
    for (int ranks = 1; ranks <= 5; ++ranks) {
      int64_t next = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const Share share = share_of(total, ranks, rank);
        EXPECT_EQ(share.first, next);
        EXPECT_LE(share.count, total / ranks + 1);
        EXPECT_GE(share.count, total / ranks);
        next += share.count;
      }
      EXPECT_EQ(next, total);
    }
}

TEST(Plan, HeadsIfTheyDivide) {
  TransformerShape shape{.heads = 12, .kv_heads = 12};
  EXPECT_EQ(choose_attention_split("", shape, 4), AttentionSplit::heads);
  EXPECT_EQ(choose_attention_split("auto", shape, 5), AttentionSplit::rows);
  EXPECT_EQ(choose_attention_split("heads", shape, 5), AttentionSplit::heads);
  EXPECT_EQ(choose_attention_split("rows", shape, 4), AttentionSplit::rows);
  EXPECT_NE(
      message_of([&] { choose_attention_split("heads", shape, 13); }).find("12 key heads for 13 devices"),
      std::string::npos);
  EXPECT_NE(message_of([&] { choose_attention_split("columns", shape, 2); }).find("use auto, heads or rows"),
            std::string::npos);
  shape.kv_heads = 4;  // each serves three query heads
  const HeadShare share = head_share(shape, AttentionSplit::heads, 3, 1);
  EXPECT_EQ(share.kv_heads.first, 2);
  EXPECT_EQ(share.heads.first, 6);
  EXPECT_EQ(share.heads.count, 3);
}

TEST(Plan, ADeviceThatDividesNoHeadsDecodes) {
  const TransformerShape shape{.heads = 12, .kv_heads = 12}, odd{.heads = 3, .kv_heads = 3};
  EXPECT_TRUE(last_decodes("", shape, 5));
  EXPECT_TRUE(last_decodes("auto", shape, 7));
  EXPECT_FALSE(last_decodes("rows", shape, 5)) << "it was said how they share";
  EXPECT_FALSE(last_decodes("auto", shape, 4)) << "heads divide";
  EXPECT_FALSE(last_decodes("auto", shape, 9)) << "they divide by 8 no better";
  EXPECT_FALSE(last_decodes("auto", odd, 2)) << "one device alone would have the whole network";
}

// What one rank gives, others take.
TEST(Plan, WhatIsGivenIsTaken) {
  TransformerShape shape{.layers = 3, .dim = 96, .heads = 6, .kv_heads = 3, .head_dim = 16};
  for (const auto split : {AttentionSplit::heads, AttentionSplit::rows}) {
    uint64_t given = 0, taken = 0;
    for (int rank = 0; rank < 3; ++rank) {
      const Traffic one = traffic_of_blocks(shape, split, 3, rank, 100, 2, 4);
      given += one.given;
      taken += one.taken;
    }
    EXPECT_EQ(given, taken);
  }
  EXPECT_EQ(traffic_of_blocks(shape, AttentionSplit::heads, 1, 0, 100, 2, 4).given, 0U);
}

// SCALE.md's reasons why chunks in flight are not split.
TEST(Plan, WholeChunksSendLessAndWaitMore) {
  for (const int64_t kv_heads : {24, 8}) {  // of 24 heads
    const TransformerShape shape{.layers = 3, .dim = 96, .heads = 24, .kv_heads = kv_heads, .head_dim = 16};
    for (const int ranks : {2, 4, 8}) {
      uint64_t given = 0, taken = 0, heads = 0, rows = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const Traffic one = traffic_of_chunks(shape, ranks, rank, 96, 2, 0);
        given += one.given;
        taken += one.taken;
        heads += ranks * traffic_of_blocks(shape, AttentionSplit::heads, ranks, rank, 96, 2, 0).given;
        rows += ranks * traffic_of_blocks(shape, AttentionSplit::rows, ranks, rank, 96, 2, 0).given;
      }
      EXPECT_EQ(given, taken);
      EXPECT_EQ(2 * given, rows) << ranks;
      EXPECT_NEAR(static_cast<double>(given) / heads, ranks * kv_heads / (2.0 * (24 + kv_heads)), 1e-9)
          << ranks;
    }
  }
  EXPECT_DOUBLE_EQ(length_of_tick(false, 4, 4, 1), length_of_tick(true, 4, 4, 1));
  EXPECT_DOUBLE_EQ(length_of_tick(false, 5, 4, 1), 2);
  // Against all ways in which four chunks can be computed or not.
  for (const int ranks : {2, 4}) {
    double length = 0;
    for (int computed = 0; computed < 16; ++computed) {
      int most = 0;
      double chance = 1;
      for (int rank = 0; rank < ranks; ++rank) {
        int own = 0;
        for (int chunk = 4 / ranks * rank; chunk < 4 / ranks * (rank + 1); ++chunk)
          own += computed >> chunk & 1;
        most = std::max(most, own);
      }
      for (int chunk = 0; chunk < 4; ++chunk) chance *= computed >> chunk & 1 ? 0.42 : 0.58;
      length += chance * most;
    }
    EXPECT_NEAR(length_of_tick(false, 4, ranks, 0.42), length, 1e-12);
    EXPECT_GT(length, 1.4 * length_of_tick(true, 4, ranks, 0.42));
  }
}

class Counted : public testing::TestWithParam<std::tuple<int, std::string, std::string>> {};

// Of the GPU's stand-in, if there is one.
FakeGpuCounts fake_gpu_counts_now() {
  FakeGpuCounts counts{};
  if (void* const found = dlsym(RTLD_DEFAULT, "fake_gpu_counts"))
    reinterpret_cast<decltype(&fake_gpu_counts)>(found)(&counts);
  return counts;
}

// Two chunks of 8 steps, each with a clean pass, which brings nothing back and ends at the last layer's keys.
TEST_P(Counted, AsTheFormulaSays) {
  const auto& [ranks, attention, kv] = GetParam();
  const c10::InferenceMode inference;
  const OnRanks model(tiny_wan(4), ranks, attention);
  const TransformerShape& shape = model.together->transformer->shape();
  const int64_t tokens = model.together->tokens_per_chunk(picture_size(model.together->package, 0, 0));
  Team& team = dynamic_cast<Team&>(*model.together->ranks);
  const AttentionSplit split = team.attention();
  EXPECT_EQ(team.uses_nccl(), test_device(1) == "cuda:1");
  const FakeGpuCounts before = fake_gpu_counts_now();
  play(model.together, config_of("none", kv), 2);
  const Traffic step = traffic_of_blocks(shape, split, ranks, 0, tokens, 4, 4, 1, kv == "flowcache");
  const int64_t others = tokens - share_of(tokens, ranks, 0).count;
  const auto back = static_cast<uint64_t>(others * shape.dim * 4);
  // After the last layer's keys there is no attention.
  const auto heads_back =
      static_cast<uint64_t>(head_share(shape, split, ranks, 0).heads.count * shape.head_dim * 4);
  const bool exchanges_back = split == AttentionSplit::heads;
  EXPECT_EQ(team.exchange().traffic().exchanges, 18 * step.exchanges - 2 * (1 + exchanges_back));
  EXPECT_EQ(team.exchange().traffic().given, 18 * step.given - 2 * exchanges_back * others * heads_back);
  const uint64_t rows_back =
      exchanges_back *
      static_cast<uint64_t>(share_of(tokens, ranks, 0).count * shape.dim * 4 -
                            static_cast<int64_t>(share_of(tokens, ranks, 0).count * heads_back));
  EXPECT_EQ(team.exchange().traffic().taken, 18 * step.taken - 2 * (back + rows_back));
  if (!team.uses_nccl()) return;
  // What NCCL was given is that, from where it lies: nothing of it went through the host.
  const FakeGpuCounts after = fake_gpu_counts_now();
  EXPECT_EQ(static_cast<uint64_t>(after.nccl_given - before.nccl_given), team.exchange().traffic().given);
  EXPECT_EQ(static_cast<uint64_t>(after.nccl_taken - before.nccl_taken), team.exchange().traffic().taken);
  EXPECT_LT(static_cast<uint64_t>(after.to_host_bytes - before.to_host_bytes), step.given);
}

INSTANTIATE_TEST_SUITE_P(Ranks, Counted,
                         testing::Values(std::tuple(2, "heads", "window"), std::tuple(2, "rows", "flowcache"),
                                         std::tuple(4, "heads", "flowcache"),
                                         std::tuple(4, "rows", "window")),
                         [](const auto& info) {
                           return std::get<1>(info.param) + std::to_string(std::get<0>(info.param)) +
                                  std::get<2>(info.param);
                         });

TEST(Devices, AreAList) {
  EXPECT_EQ(parse_devices("cuda:0,cpu"), (std::vector<std::string>{"cuda:0", "cpu"}));
  EXPECT_NE(message_of([] { parse_devices("cpu,,cpu"); }).find("one is empty"), std::string::npos);
  EXPECT_NE(message_of([] {
              std::string many = "cpu";
              for (int i = 0; i < 64; ++i) many += ",cpu";
              parse_devices(many);
            }).find("65 are given, at most 64"),
            std::string::npos);
}

TEST(Addresses, AreHostAndPort) {
  EXPECT_EQ(Address::parse("127.0.0.1:7000").port, 7000);
  EXPECT_EQ(Address::parse("[::1]:0").host, "::1");
  for (const char* wrong : {"", "7000", "host:", ":1", "host:70000", "host:7x"})
    EXPECT_NE(message_of([&] { Address::parse(wrong); }).find("is no address"), std::string::npos) << wrong;
}

}  // namespace
