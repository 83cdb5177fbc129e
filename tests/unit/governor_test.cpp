// SPDX-License-Identifier: LGPL-2.1-or-later
// The governor under a scripted clock.
#include "stream/governor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "error.h"
#include "stream/stream.h"
#include "stream/threshold_governor.h"
#include "tiny_model.h"

namespace flowcache {
namespace {

// The computed steps of `chunks` chunks when a step of chunk c takes step_time(c) seconds and the rest 0.1 s.
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
    EXPECT_LE(computed[i], computed[i - 1] + 1);
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
  EXPECT_LE(slow[1], 8);  // the estimate has gone half the way
  EXPECT_LE(slow[4], 5);  // 0.9 s of steps at 0.2 s: four, five before the estimate has settled
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

// A load that comes and goes faster than the patience grows must not be followed up and down for ever.
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
  run(governor, 20, [](int c) { return 0.03 + 0.01 * c; });  // slower and slower: many falls, one spell
  EXPECT_LT(governor.allowed(), 8);
  const auto after = run(governor, 200, [](int) { return 0.03; });
  EXPECT_EQ(after.back(), 24);
}

TEST(Governor, ResetForgetsTheMeasurements) {
  Governor governor(3, 24);
  governor.deadline(1);
  run(governor, 50, [](int) { return 5; });
  governor.reset();
  EXPECT_EQ(governor.allowed(), 6);
}

// A policy whose computed steps fall with ε as distances that grow evenly would have it.
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

StreamConfig config(const std::string& cache) {
  StreamConfig c;
  c.prompt = "fire";
  c.cache = cache;
  return c;
}

TEST(GovernedStream, ATightDeadlineComputesTheFloorAWideOneTheCeiling) {
  const auto model = test::tiny_model();
  Stream stream(model, config("auto:floor=2,ceiling=5"));
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

TEST(GovernedStream, ADeadlineMaySteerAThreshold) {
  const auto model = test::tiny_model();
  Stream stream(model, config("auto:by=flowcache"));
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
  Stream governed(model, config("auto"));
  for (const double bad : {-1.0, 3601.0, std::nan("")}) EXPECT_THROW(governed.deadline(bad), Error) << bad;
  EXPECT_THROW(Stream(model, config("auto:by=flowcache,floor=4")), Error) << "which would have no effect";
  Stream other(model, config("ramp"));
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
