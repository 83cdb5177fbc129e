// SPDX-License-Identifier: LGPL-2.1-or-later
// The governor with scripted times.
#include "stream/governor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <functional>
#include <thread>
#include <vector>

#include "base/error.h"
#include "cache/registry.h"
#include "stream/stream.h"
#include "stream/threshold_governor.h"
#include "tiny_model.h"
#include "wrapped_transformer.h"

namespace flowcache {
namespace {

// The computed steps of `chunks` chunks, if a step of chunk c takes step_time(c) seconds and the rest 0.1 s.
std::vector<int> run(Governor& governor, int chunks, const std::function<double(int)>& step_time) {
  std::vector<int> computed;
  for (int c = 0; c < chunks; ++c) {
    computed.push_back(governor.allowed());
    governor.observe(step_time(c), 0.1);
  }
  return computed;
}

int changes(const std::vector<int>& computed, size_t from) {
  int count = 0;
  for (size_t i = from + 1; i < computed.size(); ++i) count += computed[i] != computed[i - 1];
  return count;
}

TEST(Governor, RisesToTheCeilingWhereThereIsTime) {
  Governor governor(3, 24);
  governor.deadline(1);
  const auto computed = run(governor, 120, [](int) { return 0.01; });
  EXPECT_EQ(computed.front(), 6);
  EXPECT_EQ(computed.back(), 24);
  EXPECT_EQ(governor.level(), 0);
  for (size_t i = 1; i < computed.size(); ++i) {
    EXPECT_GE(computed[i], computed[i - 1]);
    EXPECT_LE(computed[i], computed[i - 1] + std::max(1, (24 - computed[i - 1]) / 2))
        << "of half of the rest at once";
  }
}

TEST(Governor, StopsWhereTheDeadlineIsKeptWithRoom) {
  Governor governor(3, 24);
  governor.deadline(1);
  const auto computed = run(governor, 300, [](int) { return 0.05; });
  EXPECT_EQ(computed.back(), 16);  // 0.1 + 16 x 0.05 = 0.9 of the deadline
  EXPECT_EQ(changes(computed, 100), 0);
}

TEST(Governor, FallsAtOnceAndNeverBelowTheFloor) {
  Governor governor(3, 24);
  governor.deadline(1);
  run(governor, 120, [](int) { return 0.01; });
  const auto slow = run(governor, 6, [](int) { return 0.2; });
  EXPECT_EQ(slow[0], 24);
  EXPECT_LE(slow[1], 8);  // the estimate has moved half of the way
  EXPECT_LE(slow[4], 5);  // 0.9 s of steps at 0.2 s: four, or five until the estimate has settled
  const auto hopeless = run(governor, 10, [](int) { return 5; });
  EXPECT_EQ(hopeless.back(), 3);
}

TEST(Governor, ANewDeadlineTakesEffectWithTheNextChunk) {
  Governor governor(3, 24);
  governor.deadline(1);
  run(governor, 120, [](int) { return 0.03; });
  governor.deadline(0.4);
  governor.observe(0.03, 0.1);
  EXPECT_LE(governor.allowed(), 10);
}

TEST(Governor, OneSlowChunkIsForgiven) {
  Governor governor(3, 24);
  governor.deadline(1);
  run(governor, 300, [](int) { return 0.02; });
  const auto after = run(governor, 200, [](int c) { return c == 0 ? 0.04 : 0.02; });
  EXPECT_GE(*std::min_element(after.begin(), after.end()), 20);
  EXPECT_EQ(after.back(), 24);
}

// A load that changes faster than the governor's patience grows must not be followed up and down without end.
TEST(Governor, AFlutteringLoadEndsInASteadyNumber) {
  Governor governor(3, 24);
  governor.deadline(1);
  const auto computed = run(governor, 2000, [](int c) { return c % 8 < 4 ? 0.03 : 0.06; });
  EXPECT_LE(changes(computed, 1000), 2000 / 48);
  int largest = 0;
  for (size_t i = 1001; i < computed.size(); ++i)
    largest = std::max(largest, std::abs(computed[i] - computed[i - 1]));
  EXPECT_LE(largest, 1);
}

TEST(Governor, ComesBackSoonAfterOneSlowSpell) {
  Governor governor(3, 24);
  governor.deadline(1);
  run(governor, 300, [](int) { return 0.03; });
  // Slower and slower: many falls in one slow period.
  run(governor, 20, [](int c) { return 0.03 + 0.01 * c; });
  EXPECT_LT(governor.allowed(), 8);
  const auto after = run(governor, 40, [](int) { return 0.03; });
  EXPECT_GE(after[16], 16);
  EXPECT_EQ(after.back(), 24);
}

TEST(Governor, ARestartBeginsWithWhatWasMeasured) {
  Governor governor(3, 24);
  governor.deadline(1);
  governor.restart();
  EXPECT_EQ(governor.allowed(), 6) << "nothing is known yet";
  run(governor, 50, [](int) { return 5; });
  governor.restart();
  EXPECT_EQ(governor.allowed(), 3);
  run(governor, 50, [](int) { return 0.05; });
  governor.restart();
  EXPECT_EQ(governor.allowed(), 15) << "0.1 + 15 x 0.05 and a tenth to spare, without rising step by step";
}

TEST(Governor, WhatIsExpectedSetsTheStart) {
  for (const auto& [step, wanted] : {std::pair{0.01, 24}, {0.052, 15}, {0.1, 8}, {0.5, 3}}) {
    Governor governor(3, 24);
    governor.deadline(1);
    governor.expect(step, 0.1);
    EXPECT_EQ(governor.allowed(), wanted) << step;
    EXPECT_DOUBLE_EQ(governor.least_seconds(), 0.1 + 3 * step);
  }
}

TEST(Governor, InAChunkItSaysWhatStillFits) {
  Governor governor(3, 24);
  governor.deadline(1);
  EXPECT_EQ(governor.affordable(0.5, 0), 24) << "nothing is known yet";
  governor.expect(0.05, 0.1);
  EXPECT_EQ(governor.affordable(0, 0.05), 18);
  EXPECT_EQ(governor.affordable(0.42, 0.05), 9);
  EXPECT_EQ(governor.affordable(0.42, 0.02), 24) << "a step has become faster; the rest is not counted on";
  EXPECT_EQ(governor.affordable(0.42, 0.15), 1)
      << "0.58 s are left, decoding and the like now take 0.3 of them";
  EXPECT_LE(governor.affordable(2, 0.05), 0);
}

// The decisions of a ramp that gives up some computed steps.
std::string decisions_of(const std::string& policy, const std::function<int(int step)>& more) {
  const auto reuse = choose_reuse(policy).make();
  reuse->allow(12);
  std::string decisions;
  for (int step = 0; step < 24; ++step) {
    ChunkStep one;
    one.info = {.chunk = 7, .step = step, .steps = 24};
    const bool computes = reuse->decide(std::span(&one, 1), 1).front().action == Action::compute;
    decisions += computes ? 'C' : '.';
    if (computes) reuse->limit(one.info, more(step));
  }
  return decisions;
}

TEST(Automatic, AChunkGivesUpStepsToCome) {
  for (const std::string policy : {"auto", "auto:order=0,correct=0"}) {
    const auto count = [](const std::string& d) { return std::count(d.begin(), d.end(), 'C'); };
    const std::string whole = decisions_of(policy, [](int) { return 24; });
    EXPECT_EQ(count(whole), 12) << whole;
    const std::string cut = decisions_of(policy, [](int step) { return step < 3 ? 24 : 3; });
    EXPECT_EQ(cut.substr(0, 4), whole.substr(0, 4)) << "what was computed stays";
    EXPECT_LE(count(cut.substr(4)), 3) << cut;
    EXPECT_GE(count(cut.substr(4)), 2) << cut << ": no fewer than needed";
    const std::string hopeless = decisions_of(policy, [](int) { return -1; });
    EXPECT_EQ(count(hopeless), 3) << hopeless << ": the floor";
  }
}

// A policy whose number of computed steps falls with ε as if distances grew evenly.
int computed_at(double threshold) {
  return std::clamp(static_cast<int>(std::lround(24 / (1 + 10 * threshold))), 3, 24);
}

std::vector<int> run(ThresholdGovernor& governor, int chunks, const std::function<double(int)>& step_time) {
  std::vector<int> computed;
  for (int c = 0; c < chunks; ++c) {
    computed.push_back(computed_at(governor.threshold()));
    governor.observe(step_time(c), 0.1, computed.back());
  }
  return computed;
}

TEST(ThresholdGovernor, ComputesAsManyStepsAsThereIsTimeFor) {
  ThresholdGovernor governor(0.2, 24);
  governor.deadline(1);
  EXPECT_EQ(governor.threshold(), 0.2);
  const auto roomy = run(governor, 400, [](int) { return 0.05; });
  EXPECT_GE(roomy.back(), 14);
  EXPECT_LE(roomy.back(), 18);  // 0.1 + 18 x 0.05 is the deadline
  EXPECT_EQ(changes(roomy, 300), 0) << "and stays";
  const auto slow = run(governor, 12, [](int) { return 0.15; });
  EXPECT_LE(slow.back(), 6) << "0.1 + 6 x 0.15 is the deadline";
  const auto again = run(governor, 400, [](int) { return 0.05; });
  EXPECT_GE(again.back(), 14);
}

TEST(ThresholdGovernor, StaysWithinItsRange) {
  ThresholdGovernor governor(0.1, 24);
  governor.deadline(1);
  run(governor, 400, [](int) { return 5; });
  EXPECT_DOUBLE_EQ(governor.threshold(), 0.1 * ThresholdGovernor::range);
  run(governor, 2000, [](int) { return 1e-4; });
  EXPECT_GE(governor.threshold(), 0.1 / ThresholdGovernor::range);
  EXPECT_LT(governor.threshold(), 0.1);
}

TEST(ThresholdGovernor, AFlutteringLoadIsNotFollowedForEver) {
  ThresholdGovernor governor(0.2, 24);
  governor.deadline(1);
  const auto computed = run(governor, 2000, [](int c) { return c % 8 < 4 ? 0.03 : 0.06; });
  EXPECT_LE(changes(computed, 1000), 2000 / 24);
}

StreamConfig governed_config(const std::string& cache) {
  StreamConfig c;
  c.prompt = "fire";
  c.cache = cache;
  return c;
}

TEST(GovernedStream, ATightDeadlineComputesTheFloorAWideOneTheCeiling) {
  const auto model = test::tiny_model();
  Stream stream(model, governed_config("auto:floor=2,ceiling=5"));
  stream.deadline(1e-9);
  for (int i = 0; i < 3; ++i) stream.next();
  const auto tight = stream.next()->decisions;
  EXPECT_EQ(std::count(tight.begin(), tight.end(), 1), 2);
  EXPECT_EQ(stream.stats().governor_level, 3);
  EXPECT_DOUBLE_EQ(stream.stats().deadline_seconds, 1e-9);
  stream.deadline(3600);
  for (int i = 0; i < 400 && stream.stats().governor_level > 0; ++i) stream.next();
  stream.next();
  const auto wide = stream.next()->decisions;
  EXPECT_EQ(std::count(wide.begin(), wide.end(), 1), 5);
}

int64_t computed_steps(const Chunk& chunk) {
  return std::count(chunk.decisions.begin(), chunk.decisions.end(), 1);
}

TEST(GovernedStream, TheFirstChunkHasWhatThereIsTimeFor) {
  const auto model = test::tiny_model();
  for (const auto& [deadline, wanted] : {std::pair{1e-9, 2}, {3600.0, 5}}) {
    Stream stream(model, governed_config("auto:floor=2,ceiling=5"));
    stream.deadline(deadline);
    EXPECT_EQ(computed_steps(*stream.next()), wanted) << deadline;
    EXPECT_EQ(stream.stats().steps_allowed, wanted);
    EXPECT_GT(stream.stats().least_seconds, 0);
    stream.reset(1);
    EXPECT_EQ(computed_steps(*stream.next()), wanted) << "after a reset";
  }
}

// If every step is computed, the governed stream equals the plain one, so the rehearsal has left nothing.
TEST(GovernedStream, TimingAStepLeavesNoTrace) {
  const auto model = test::tiny_model();
  for (const std::string kv :
       {"window", "flowcache", "packcache", "window:positions=relative", "decoprune"}) {
    for (const int lag : {0, 2}) {
      StreamConfig plain = governed_config("none"), governed = governed_config("auto");
      for (StreamConfig* one : {&plain, &governed}) {
        one->kv_cache = kv;
        one->lag = lag;
        one->guidance = 3;
      }
      Stream expected(model, plain), stream(model, governed);
      stream.deadline(3600);
      for (int i = 0; i < 4; ++i)
        EXPECT_TRUE(at::equal(expected.next()->latent, stream.next()->latent))
            << kv << " " << lag << " " << i;
    }
  }
}

TEST(GovernedStream, AChunkThatBecomesTooSlowGivesUpSteps) {
  auto model = test::tiny_model();
  auto slow = std::make_shared<std::atomic<bool>>(false);
  class Slowed final : public test::WrappedTransformer {
   public:
    Slowed(std::unique_ptr<Transformer> inner, std::shared_ptr<std::atomic<bool>> slow)
        : WrappedTransformer(std::move(inner)), slow_(std::move(slow)) {}
    at::Tensor blocks(const Embedded& e, at::Tensor tokens, const Condition& c, KvView& kv, int first,
                      int last) const override {
      if (*slow_) std::this_thread::sleep_for(std::chrono::milliseconds(100));
      return WrappedTransformer::blocks(e, std::move(tokens), c, kv, first, last);
    }

   private:
    std::shared_ptr<std::atomic<bool>> slow_;
  };
  model->transformer = std::make_unique<Slowed>(std::move(model->transformer), slow);
  Stream stream(model, governed_config("auto:floor=2"));
  stream.deadline(0.5);
  int64_t before = 0;
  for (int i = 0; i < 3; ++i) before = computed_steps(*stream.next());
  stream.watch_computed([&](const ChunkStep&, const at::Tensor&) { *slow = true; });
  const auto hit = stream.next();
  EXPECT_LT(computed_steps(*hit), 6) << "of " << before << ": eight steps of 100 ms do not fit into 500";
  EXPECT_GE(computed_steps(*hit), 2);
  EXPECT_EQ(hit->governor_level, 8 - computed_steps(*hit));
}

TEST(GovernedStream, IsWhatALiveStreamIsByDefault) {
  const auto deadline_of = [](const std::shared_ptr<LoadedModel>& model, bool live,
                              const std::string& cache) {
    StreamConfig c = governed_config(cache);
    c.live = live;
    return Stream(model, c).stats().deadline_seconds;
  };
  const auto model = test::tiny_model();
  EXPECT_GT(deadline_of(model, true, ""), 0);
  EXPECT_EQ(deadline_of(model, false, ""), 0) << "can be repeated";
  EXPECT_EQ(deadline_of(model, true, "flowcache"), 0) << "chosen by hand";
  const auto with_sampler = [](const char* kind) {
    auto other = test::tiny_model();
    other->package.sampler["kind"] = kind;
    return other;
  };
  EXPECT_GT(deadline_of(with_sampler("unipc"), true, ""), 0);
  EXPECT_EQ(deadline_of(with_sampler("few_step"), true, ""), 0) << "every step draws fresh noise";
  auto own = test::tiny_model();
  own->package.cache["live"] = "ramp";
  EXPECT_EQ(deadline_of(own, true, ""), 0) << "the model says so";
}

TEST(GovernedStream, ADeadlineMaySteerAThreshold) {
  const auto model = test::tiny_model();
  Stream stream(model, governed_config("auto:by=flowcache"));
  const double first = stream.stats().threshold;
  stream.deadline(1e-9);
  EXPECT_DOUBLE_EQ(stream.stats().deadline_seconds, 1e-9);
  for (int i = 0; i < 12; ++i) stream.next();
  EXPECT_GT(stream.stats().threshold, 4 * first);
  const auto tight = stream.next()->decisions;
  EXPECT_LT(std::count(tight.begin(), tight.end(), 1), 8);
  EXPECT_THROW(stream.tune(0.1, -1), Error) << "it would be overruled at the next chunk";
  stream.reset(0);
  EXPECT_EQ(stream.stats().threshold, first);
}

TEST(GovernedStream, WhatCannotBeIsRefused) {
  const auto model = test::tiny_model();
  Stream governed(model, governed_config("auto"));
  for (const double bad : {-1.0, 3601.0, std::nan("")}) EXPECT_THROW(governed.deadline(bad), Error) << bad;
  EXPECT_THROW(Stream(model, governed_config("auto:by=flowcache,floor=4")), Error)
      << "which would have no effect";
  Stream other(model, governed_config("ramp"));
  try {
    other.deadline(1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), FC_ERROR_ARGUMENT);
    EXPECT_NE(std::string(error.what()).find("cache=auto"), std::string::npos);
  }
}

}  // namespace
}  // namespace flowcache
