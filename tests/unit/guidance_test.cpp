// SPDX-License-Identifier: LGPL-2.1-or-later
// Which guidance branches run, and what replaces the others.
#include <gtest/gtest.h>

#include "base/error.h"
#include "cache/guidance/cfg_cache.h"
#include "tiny_model.h"
#include "wrapped_transformer.h"

namespace flowcache {
namespace {

// Counts the runs of all blocks for each condition.
class Counting final : public test::WrappedTransformer {
 public:
  using WrappedTransformer::WrappedTransformer;
  at::Tensor blocks(const Embedded& embedded, at::Tensor tokens, const Condition& condition, KvView& kv,
                    int first, int last) const override {
    ++runs[&condition];
    return WrappedTransformer::blocks(embedded, std::move(tokens), condition, kv, first, last);
  }
  int total() const {
    int sum = 0;
    for (const auto& [condition, count] : runs) sum += count;
    return sum;
  }
  mutable std::map<const Condition*, int> runs;
};

struct Guided {
  std::shared_ptr<LoadedModel> model = test::tiny_model();
  Counting* counting = test::wrap_transformer<Counting>(*model);
  StreamConfig config(const std::string& cache, double guidance) const {
    return {.prompt = "fire", .seed = 3, .cache = cache, .guidance = guidance};
  }
};

constexpr int steps = 8, clean_pass = 2;  // tiny_model()'s; both branches of the clean pass

TEST(Guidance, ABranchOfWeightZeroIsNotRun) {
  Guided g;
  Stream both(g.model, g.config("none", 3));
  both.next();
  EXPECT_EQ(g.counting->total(), 2 * steps + clean_pass);

  g.counting->runs.clear();
  Stream none(g.model, g.config("none", 0));  // the unconditional branch only
  none.next();
  EXPECT_EQ(g.counting->total(), steps + clean_pass);

  Stream switched(g.model, g.config("none", 3));
  switched.tune(-1, 1);
  g.counting->runs.clear();
  switched.next();
  EXPECT_EQ(g.counting->total(), steps + clean_pass);
}

// Also for policies that keep something of every branch: first blocks, token residuals, a tail, other chunks'
// residuals.
TEST(Guidance, ABranchOfWeightZeroIsNotRunByAnyPolicy) {
  for (const char* cache : {"dbcache", "flowcache:residual=token_residual", "mixcache", "xchunk"}) {
    Guided g;
    const auto blocks = [&](double guidance) {
      Stream stream(g.model, g.config(cache, guidance));
      stream.tune(0, -1);  // nothing is reused
      double flops = 0;
      for (int i = 0; i < 2; ++i) flops += stream.next()->flops;
      return flops;
    };
    const double both = blocks(3), one = blocks(0);
    EXPECT_LT(one, 0.62 * both) << cache;  // half of it, and the clean pass
    EXPECT_GT(one, 0.5 * both) << cache;

    Stream stream(g.model, g.config(cache, 3));
    for (const double guidance :
         {1.0, 3.0, 0.0, 2.0}) {  // a branch that was left out works when it is needed again
      stream.tune(-1, guidance);
      for (int i = 0; i < 2; ++i)
        EXPECT_TRUE(stream.next()->latent.isfinite().all().item<bool>()) << cache << ' ' << guidance;
    }
  }
}

// Leaving out a branch must not change a bit, neither now nor after guidance is on again.
TEST(Guidance, LeavingOutAWeightOfZeroChangesNothing) {
  Guided g;
  Stream alone(g.model, g.config("none", 1));  // opened with one branch
  Stream tuned(g.model, g.config("none", 3));
  tuned.tune(-1, 1);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(alone.next()->latent.equal(tuned.next()->latent)) << i;

  // A stream that never left out a branch: its guidance is so near to 1 that the sum is the same to 1e-5.
  Stream near(g.model, g.config("none", 3)), back(g.model, g.config("none", 3));
  near.tune(-1, 1 + 1e-9);
  back.tune(-1, 1);
  near.next(), back.next();
  near.tune(-1, 3), back.tune(-1, 3);
  EXPECT_LT((near.next()->latent - back.next()->latent).abs().max().item<double>(), 1e-4);
}

TEST(CleanContext, CanBeSwitchedOffAndOnWhateverTheModelSays) {
  Guided g;
  StreamConfig config = g.config("none", 1);
  for (const auto& [choice, runs] :
       std::vector<std::pair<int, int>>{{-1, steps + 1}, {0, steps}, {1, steps + 1}}) {
    config.clean_context = choice;
    g.counting->runs.clear();
    Stream stream(g.model, config);
    stream.next();
    EXPECT_EQ(g.counting->total(), runs) << choice;
  }
  config.clean_context = 0;
  config.cache = "ramp:computed=2";
  Stream stream(g.model, config);
  EXPECT_EQ(stream.next()->decisions.back(), 1);  // its keys and values become history
}

TEST(Guidance, CfgCacheLeavesOutWhatItCanRebuild) {
  Guided g;
  Stream stream(g.model, g.config("none+cfg_cache:start=0.25,refresh=3", 3));
  stream.next();
  // Steps 0 1 both | 2 3 one | 4 both | 5 6 one | 7 both.
  EXPECT_EQ(g.counting->total(), 2 * steps - 4 + clean_pass);

  g.counting->runs.clear();
  Stream never(g.model, g.config("none+cfg_cache:refresh=1", 3)), plain(g.model, g.config("none", 3));
  EXPECT_TRUE(never.next()->latent.equal(plain.next()->latent));
}

TEST(Guidance, CfgCacheComposesWithReuse) {
  Guided g;
  Stream stream(g.model, g.config("ramp:computed=5+cfg_cache:start=0,refresh=2", 3));
  EXPECT_TRUE(stream.next()->latent.isfinite().all().item<bool>());
  // Both run on every second of the five, the first and the last.
  EXPECT_EQ(g.counting->total(), 5 + 3 + clean_pass);
}

TEST(CfgCache, WithWeightsOneItRebuildsWhatItSaw) {
  for (const auto& [h, w] : std::vector<std::pair<int, int>>{{12, 20}, {7, 5}, {1, 1}}) {
    CfgCache cache({.start = 0, .refresh = 5, .low_weight = 1, .high_weight = 1});
    const at::Tensor c = at::randn({4, 3, h, w}), u = at::randn({4, 3, h, w});
    const StepInfo info{.chunk = 2, .step = 3, .steps = 10};
    EXPECT_FALSE(cache.skips_unconditional(info));
    cache.computed(info, c, u);
    ASSERT_TRUE(cache.skips_unconditional(info));
    EXPECT_LT((cache.unconditional(info, c) - u).abs().max().item<double>(), 1e-5) << h << "x" << w;
    EXPECT_GT(cache.state_bytes(), 0u);
    cache.end_chunk(2);
    EXPECT_EQ(cache.state_bytes(), 0u);
  }
}

TEST(CfgCache, WeightsTouchTheirOwnFrequenciesAndCompound) {
  const at::Tensor c = at::zeros({1, 1, 10, 10});
  const at::Tensor flat = at::ones({1, 1, 10, 10});  // only frequency zero
  at::Tensor checkers = at::ones({1, 1, 10, 10});    // only the highest frequency
  for (int y = 0; y < 10; ++y)
    for (int x = 0; x < 10; ++x)
      if ((x + y) % 2) checkers[0][0][y][x] = -1;
  CfgCache cache({.start = 0, .low_until = 1, .low_weight = 2, .high_from = 0, .high_weight = 3});
  const StepInfo info{.chunk = 0, .step = 2, .steps = 10};
  cache.computed(info, c, flat + checkers);
  ASSERT_TRUE(cache.skips_unconditional(info));
  EXPECT_LT((cache.unconditional(info, c) - (2 * flat + 3 * checkers)).abs().max().item<double>(), 1e-5);
  ASSERT_TRUE(cache.skips_unconditional(info));
  EXPECT_LT((cache.unconditional(info, c) - (4 * flat + 9 * checkers)).abs().max().item<double>(), 1e-5);
}

TEST(Guidance, WhatMakesNoSenseIsRefusedWithTheReason) {
  Guided g;
  const auto message = [&](const std::string& cache, double guidance) {
    try {
      Stream stream(g.model, g.config(cache, guidance));
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), FC_ERROR_ARGUMENT);
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_NE(message("ramp+cfg_cache", 1).find("guidance_scale"), std::string::npos);
  EXPECT_NE(message("dbcache+cfg_cache", 3).find("velocities"), std::string::npos);
  g.model->package.sampler = {{"kind", "unipc"}, {"steps", 8}, {"shift", 1.5}};
  EXPECT_NE(message("ramp", 3).find("correct=0"), std::string::npos);
  EXPECT_EQ(message("ramp:correct=0", 3), "no error");
}

}  // namespace
}  // namespace flowcache
