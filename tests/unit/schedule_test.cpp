// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/schedule.h"

#include <gtest/gtest.h>

#include <map>

#include "base/error.h"

namespace flowcache {
namespace {

TEST(Schedule, EveryChunkTakesEveryStepOnceInOrderLagTicksApart) {
  for (const auto& [steps, lag] : {std::pair{8, 8}, {8, 2}, {8, 3}, {5, 1}, {1, 1}, {24, 6}, {50, 5}}) {
    const Schedule schedule(steps, lag);
    std::map<int64_t, int> next;  // chunk -> step expected
    for (int64_t tick = 0; tick < 20 * lag; ++tick) {
      const auto due = schedule.tick(tick);
      ASSERT_FALSE(due.empty());
      EXPECT_LE(static_cast<int>(due.size()), schedule.chunks_in_flight());
      for (size_t i = 0; i < due.size(); ++i) {
        EXPECT_EQ(due[i].step, next[due[i].chunk]++);
        EXPECT_EQ(tick, due[i].chunk * lag + due[i].step);
        if (i > 0) {
          EXPECT_LT(due[i - 1].chunk, due[i].chunk) << "oldest first";
        }
      }
    }
    for (int64_t chunk = 0; chunk < 20 - (steps + lag - 1) / lag; ++chunk) EXPECT_EQ(next[chunk], steps);
  }
}

TEST(Schedule, ChunksInFlight) {
  EXPECT_EQ(Schedule(24, 24).chunks_in_flight(), 1);
  EXPECT_EQ(Schedule(64, 16).chunks_in_flight(), 4);
  EXPECT_EQ(Schedule(50, 5).chunks_in_flight(), 10);
  EXPECT_EQ(Schedule(8, 3).chunks_in_flight(), 3);
}

// One chunk after the other, the first in steps of its own.
TEST(Schedule, TheFirstChunkMayTakeMoreOrFewerSteps) {
  for (const auto& [steps, first] : {std::pair{1, 4}, {2, 4}, {4, 1}, {3, 3}}) {
    const Schedule schedule(steps, steps, first);
    EXPECT_EQ(schedule.chunks_in_flight(), 1);
    std::vector<ScheduledStep> wanted;
    for (int64_t chunk = 0; chunk < 5; ++chunk) {
      EXPECT_EQ(schedule.steps_of(chunk), chunk == 0 ? first : steps);
      for (int step = 0; step < (chunk == 0 ? first : steps); ++step) wanted.push_back({chunk, step});
    }
    for (size_t tick = 0; tick < wanted.size(); ++tick)
      EXPECT_EQ(schedule.tick(static_cast<int64_t>(tick)), std::vector<ScheduledStep>{wanted[tick]})
          << steps << " " << first << " " << tick;
  }
  EXPECT_THROW(Schedule(2, 1, 4), Error) << "two chunks in flight";
  EXPECT_THROW(Schedule(2, 2, 1001), Error);
  EXPECT_NO_THROW(Schedule(4, 2, 4));
}

TEST(Schedule, IsStillExactAfterYears) {
  const Schedule schedule(24, 6);
  const int64_t chunk = int64_t{1} << 40;
  const auto due = schedule.tick(chunk * 6);
  ASSERT_EQ(due.size(), 4u);
  EXPECT_EQ(due.back(), (ScheduledStep{chunk, 0}));
  EXPECT_EQ(due.front(), (ScheduledStep{chunk - 3, 18}));
}

TEST(Schedule, RefusesWhatCannotWork) {
  for (const auto& [steps, lag] : {std::pair{0, 1}, {-1, 1}, {1001, 1}, {8, 0}, {8, 9}, {8, -2}}) {
    try {
      Schedule(steps, lag);
      FAIL() << steps << " " << lag;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), FC_ERROR_ARGUMENT);
    }
  }
}

}  // namespace
}  // namespace flowcache
