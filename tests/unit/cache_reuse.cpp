// SPDX-License-Identifier: LGPL-2.1-or-later
// Rules that hold for every reuse policy, and those of FlowCache.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "cache/registry.h"
#include "cache/reuse/flowcache.h"
#include "cache/reuse/polynomial.h"
#include "cache_steps.h"

using namespace flowcache;
using namespace cache_steps;

// every policy

class EveryReusePolicy : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<ReusePolicy> make() const { return choose_reuse(GetParam()).make(); }
};

TEST_P(EveryReusePolicy, ThresholdZeroNeverReuses) {
  const auto policy = make();
  EXPECT_EQ(run(*policy, drifting(0.0, 24), 0.0), std::vector<int>(24, 1));
  policy->reset();
  EXPECT_EQ(run(*policy, drifting(0.01, 24), 0.0), std::vector<int>(24, 1));
}

TEST_P(EveryReusePolicy, ThresholdNanNeverReuses) {
  const auto policy = make();
  EXPECT_EQ(run(*policy, drifting(0.0, 24), std::nan("")), std::vector<int>(24, 1));
}

TEST_P(EveryReusePolicy, MustComputeIsObeyed) {
  const auto policy = make();
  std::vector<Scripted> script = drifting(0.001, 24);
  for (Scripted& step : script) step.must_compute = true;
  EXPECT_EQ(run(*policy, script, 5.0), std::vector<int>(24, 1));
}

TEST_P(EveryReusePolicy, FirstStepOfAChunkIsComputed) {
  const auto policy = make();
  for (int64_t chunk : {0, 1, 7}) {
    const ChunkStep step = make_step(chunk, 0, 24, 1.0);
    EXPECT_EQ(policy->decide({&step, 1}, 5.0)[0].action, Action::compute) << chunk;
  }
}

TEST_P(EveryReusePolicy, ResetForgetsEverything) {
  const auto policy = make();
  const std::vector<Scripted> script = drifting(0.01, 24);
  const std::vector<int> fresh = run(*policy, script, 0.1);
  policy->reset();
  EXPECT_EQ(policy->state_bytes(), 0u);
  EXPECT_EQ(run(*policy, script, 0.1), fresh);
}

TEST_P(EveryReusePolicy, AStreamDoesNotDisturbAnother) {
  const auto one = make(), two = make();
  const std::vector<int> alone = run(*one, drifting(0.01, 24), 0.1);
  one->reset();
  EXPECT_EQ(run(*two, drifting(0.2, 24), 0.1).size(), 24u);
  EXPECT_EQ(run(*one, drifting(0.01, 24), 0.1), alone);
}

TEST_P(EveryReusePolicy, AChunkWithoutItsPastIsComputed) {
  // A policy may be changed in the middle of a stream, so it may first see a chunk at any step.
  const auto policy = make();
  const ChunkStep step = make_step(3, 12, 24, 1.0);
  EXPECT_EQ(policy->decide({&step, 1}, 5.0)[0].action, Action::compute);
}

// Chunks that begin at different ticks, with features that change at different rates, get the same decisions
// as each one alone, in any order within a tick. Not tested for policies that look across chunks on purpose:
// the joint rule, reuse of other chunks' steps, and measurements on a first chunk.
TEST_P(EveryReusePolicy, AChunkInFlightDoesNotDisturbAnother) {
  for (const char* across : {"teacache_joint", "xchunk", "forecast", "magcache"})
    if (GetParam() == across) return;
  const std::vector<double> drift = {0.002, 0.02, 0.1};
  const auto feed = [&](ReusePolicy& policy, std::vector<ChunkStep> tick) {
    for (ChunkStep& step : tick) {
      const double value = std::pow(1 + drift[step.info.chunk], step.info.step);
      const ChunkStep scripted = make_step(step.info.chunk, step.info.step, 12, value);
      step.features = scripted.features;
      step.features.first_blocks = scripted.features.tokens;
      step.info.must_compute = step.info.step == 0;
    }
    const auto decisions = policy.decide(tick, 0.15);
    for (size_t i = 0; i < tick.size(); ++i)
      if (decisions[i].action == Action::compute) policy.computed(tick[i], tick[i].features.latent * 0.5);
    return decisions;
  };
  std::vector<std::vector<int>> alone(3), together(3);
  for (int64_t c = 0; c < 3; ++c) {
    const auto policy = make();
    for (int step = 0; step < 12; ++step)
      alone[c].push_back(feed(*policy, {make_step(c, step, 12, 0)})[0].action == Action::compute);
  }
  for (const bool oldest_first : {true, false}) {
    const auto policy = make();
    together.assign(3, {});
    for (int tick = 0; tick < 20; ++tick) {
      std::vector<ChunkStep> steps;
      for (int64_t c = 0; c < 3; ++c)
        if (const int step = tick - 4 * static_cast<int>(c); step >= 0 && step < 12)
          steps.push_back(make_step(c, step, 12, 0));
      if (!oldest_first) std::reverse(steps.begin(), steps.end());
      const auto decisions = feed(*policy, steps);
      for (size_t i = 0; i < steps.size(); ++i)
        together[steps[i].info.chunk].push_back(decisions[i].action == Action::compute);
    }
    EXPECT_EQ(together, alone) << oldest_first;
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryReusePolicy, testing::ValuesIn(reuse_names()),
                         [](const auto& info) { return info.param; });

// FlowCache

namespace {

FlowCacheReuse plain(int warmup = 0, bool protect_last = false) {
  return FlowCacheReuse({.warmup = warmup, .protect_last = protect_last});
}

}  // namespace

TEST(FlowCacheReuse, DriftAddsUpFromTheLastComputedStep) {
  auto policy = plain();
  std::vector<Decision> seen;
  EXPECT_EQ(run(policy, drifting(0.004, 8), 0.01, &seen), (std::vector<int>{1, 0, 0, 1, 0, 0, 1, 0}));
  EXPECT_NEAR(seen[1].accumulated, 0.004, 1e-6);
  EXPECT_NEAR(seen[2].accumulated, 0.008, 1e-6);
  EXPECT_EQ(seen[3].accumulated, 0);
  EXPECT_NEAR(seen[3].distance, 0.004, 1e-6);
  EXPECT_FALSE(seen[3].forced);
}

TEST(FlowCacheReuse, StepsThatEachPassTheThresholdAreAllComputed) {
  auto policy = plain();
  EXPECT_EQ(run(policy, drifting(0.011, 6), 0.01), std::vector<int>(6, 1));
}

TEST(FlowCacheReuse, TheThresholdItselfComputes) {
  Accumulator sum;
  EXPECT_EQ(sum.add(0.5, 0.5).action, Action::compute);
  EXPECT_EQ(sum.add(0.25, 0.5).action, Action::reuse);
  EXPECT_EQ(sum.add(0.25, 0.5).action, Action::compute);
}

TEST(FlowCacheReuse, WarmUpAndLastStepByTable) {
  struct Row {
    int warmup;
    bool protect_last;
    std::vector<int> computed;
  };
  const Row rows[] = {
      {0, false, {1, 0, 0, 0, 0, 0}}, {1, false, {1, 0, 0, 0, 0, 0}}, {3, false, {1, 1, 1, 0, 0, 0}},
      {0, true, {1, 0, 0, 0, 0, 1}},  {3, true, {1, 1, 1, 0, 0, 1}},  {9, false, {1, 1, 1, 1, 1, 1}},
  };
  for (const Row& row : rows) {
    auto policy = plain(row.warmup, row.protect_last);
    EXPECT_EQ(run(policy, drifting(0.001, 6), 1.0), row.computed) << row.warmup << row.protect_last;
  }
}

TEST(FlowCacheReuse, ForcedStepsSayTheyWereForced) {
  auto policy = plain(2, true);
  std::vector<Decision> seen;
  run(policy, drifting(0.001, 5), 1.0, &seen);
  EXPECT_TRUE(seen[0].forced && seen[1].forced && seen[4].forced);
  EXPECT_FALSE(seen[2].forced || seen[3].forced);
}

TEST(FlowCacheReuse, UnsafeFeaturesCompute) {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  for (const float bad : {nan, inf, -inf}) {
    auto policy = plain();
    std::vector<Scripted> script = drifting(0.001, 6);
    script[3].tokens = at::full({4, 8}, bad);
    std::vector<Decision> seen;
    // Nor can the step after the bad one be compared.
    EXPECT_EQ(run(policy, script, 1.0, &seen), (std::vector<int>{1, 0, 0, 1, 1, 0})) << bad;
    EXPECT_TRUE(seen[3].forced && seen[4].forced);
  }
}

TEST(FlowCacheReuse, NegativePolynomialComputesUnlessParityIsAskedFor) {
  // The polynomial 1.3B on e0 gives about -0.05 if nothing has changed.
  for (const UnsafeDistance unsafe : {UnsafeDistance::compute, UnsafeDistance::parity}) {
    FlowCacheReuse policy({.warmup = 0,
                           .feature = Tap::modulation,
                           .protect_last = false,
                           .polynomial = polynomial("wan_1.3b"),
                           .unsafe = unsafe});
    std::vector<Decision> seen;
    const int computed = unsafe == UnsafeDistance::compute ? 1 : 0;
    EXPECT_EQ(run(policy, drifting(0.0, 3), 0.1, &seen), (std::vector<int>{1, computed, computed}));
    EXPECT_NEAR(seen[1].distance, -0.0499875664, 1e-9);
    policy.reset();
    EXPECT_EQ(run(policy, drifting(0.0, 3), 0.0), (std::vector<int>{1, 1, 1}));
  }
}

TEST(FlowCacheReuse, ChunksDecideAloneWhateverTheirOrder) {
  const std::vector<double> drift = {0.002, 0.006, 0.02};
  std::vector<std::vector<int>> alone;
  for (size_t c = 0; c < drift.size(); ++c) {
    auto policy = plain(2, true);
    alone.push_back(run(policy, drifting(drift[c], 12), 0.01));
  }
  // Together, entering at different ticks.
  auto policy = plain(2, true);
  std::vector<std::vector<int>> together(3);
  for (int tick = 0; tick < 20; ++tick) {
    std::vector<ChunkStep> steps;
    for (int64_t c = 2; c >= 0; --c) {
      const int step = tick - static_cast<int>(c) * 4;
      if (step >= 0 && step < 12) steps.push_back(make_step(c, step, 12, std::pow(1 + drift[c], step)));
    }
    const auto decisions = policy.decide(steps, 0.01);
    for (size_t i = 0; i < steps.size(); ++i)
      together[steps[i].info.chunk].push_back(decisions[i].action == Action::compute);
  }
  EXPECT_EQ(together, alone);
}

TEST(FlowCacheReuse, ModulationGivesEveryChunkAndBranchTheSameSchedule) {
  const auto spec = "flowcache:feature=modulation,polynomial=wan_1.3b,residual=token_residual,warmup=5";
  const auto cond = choose_reuse(spec).make(), uncond = choose_reuse(spec).make();
  const std::vector<int> first = run(*cond, drifting(0.015, 30), 0.1);
  EXPECT_EQ(run(*uncond, drifting(0.015, 30), 0.1), first);
  EXPECT_EQ(run(*cond, drifting(0.015, 30), 0.1, nullptr, 9), first);
  EXPECT_GT(std::count(first.begin(), first.end(), 0), 5);
}

TEST(FlowCacheReuse, StateIsOneFeatureAChunkAndGoesWithIt) {
  auto policy = plain();
  for (int64_t c : {0, 1}) {
    const ChunkStep step = make_step(c, 0, 8, 1.0);
    policy.decide({&step, 1}, 0.1);
  }
  EXPECT_EQ(policy.state_bytes(), 2 * 4 * 8 * sizeof(float));
  policy.end_chunk(0);
  EXPECT_EQ(policy.state_bytes(), 1 * 4 * 8 * sizeof(float));
}

TEST(FlowCacheReuse, FeaturesAreCopied) {
  // The network may overwrite its tokens after the policy has seen them.
  auto policy = plain();
  at::Tensor tokens = at::ones({4, 8});
  ChunkStep step{.info = {.chunk = 0, .step = 0, .steps = 8}, .features = {.tokens = tokens}};
  policy.decide({&step, 1}, 1.0);
  tokens.fill_(100);
  step.info.step = 1;
  step.features.tokens = at::full({4, 8}, 1.25f);
  EXPECT_NEAR(policy.decide({&step, 1}, 1.0)[0].distance, 0.25, 1e-6);
}

TEST(FlowCacheReuse, Bf16MetricRoundsAsTheReferenceDoes) {
  FlowCacheReuse policy({.warmup = 0, .metric = Metric::bf16, .protect_last = false});
  std::vector<Decision> seen;
  run(policy, drifting(0.003, 2), 1.0, &seen);
  // 1.003 is not representable: its nearest bf16 neighbours are 1 and 1.0078125.
  EXPECT_EQ(seen[1].distance, 0.0);
}

TEST(Polynomial, PublishedValues) {
  struct Row {
    const char* name;
    double x, value;
  };
  const Row rows[] = {
      {"wan_1.3b_e", 0, 0.137888},  {"wan_14b_e", 0.01, -10.635531}, {"wan_1.3b", 0.02, 0.078171},
      {"wan_14b", 0.05, 0.218949},  {"wan_14b", 0.3, -1354.103825},  {"wan_1.3b_e", 0.2, -0.122561},
      {"wan_1.3b", 0.01, 0.042881},
  };
  for (const Row& row : rows)
    EXPECT_NEAR(evaluate(polynomial(row.name), row.x), row.value, 1e-6) << row.name << " at " << row.x;
  EXPECT_EQ(evaluate(polynomial("none"), 0.37), 0.37);
}
