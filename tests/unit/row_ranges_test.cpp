// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/row_ranges.h"

#include <gtest/gtest.h>

#include <mutex>

namespace flowcache {
namespace {

struct Seen {
  std::vector<int> times;  // how often each row was processed
  int64_t calls = 0, most = 0, least = INT64_MAX;
};

template <typename Run>
Seen watch(int64_t rows, const Run& run) {
  Seen seen;
  seen.times.resize(static_cast<size_t>(rows));
  std::mutex mutex;
  run([&](int64_t first, int64_t count) {
    const std::lock_guard lock(mutex);
    ++seen.calls;
    seen.most = std::max(seen.most, count);
    seen.least = std::min(seen.least, count);
    for (int64_t i = first; i < first + count; ++i) ++seen.times.at(static_cast<size_t>(i));
  });
  EXPECT_EQ(seen.times, std::vector<int>(seen.times.size(), 1));
  return seen;
}

TEST(RowRanges, SlicesAreEvenAndNoLargerThanAllowed) {
  for (const int64_t rows : {1, 5, 64, 1000}) {
    for (const int64_t slice : {1, 3, 64, 999, 5000}) {
      const Seen seen = watch(rows, [&](const auto& work) { for_slices(rows, slice, work); });
      EXPECT_LE(seen.most, slice);
      EXPECT_LE(seen.most - seen.least, 1);
      EXPECT_EQ(seen.calls, (rows + slice - 1) / slice);
    }
    EXPECT_EQ(watch(rows, [&](const auto& work) { for_slices(rows, 0, work); }).calls, 1);
  }
}

// Only the kind of device matters; no device is used.
TEST(RowRanges, ADeviceTakesAllAtOnceOrSlices) {
  const auto calls = [](int64_t slice) {
    return watch(1000, [&](const auto& work) { for_row_ranges(at::kCUDA, 1000, slice, work); }).calls;
  };
  EXPECT_EQ(calls(0), 1);
  EXPECT_EQ(calls(300), 4);
}

TEST(RowRanges, ACpuSplitsAnyhowAndSlicesFurtherIfAsked) {
  const auto most = [](int64_t slice) {
    return watch(1000, [&](const auto& work) { for_row_ranges(at::kCPU, 1000, slice, work); }).most;
  };
  EXPECT_LE(most(0), 64);
  EXPECT_EQ(most(500), most(0));
  EXPECT_LE(most(8), 8);
}

// So that no vector and no tile of the kernels is half empty but at the end.
TEST(RowRanges, OnACpuRangesBeginAtMultiplesOfSixteen) {
  for (const int64_t rows : {1, 33, 127, 432, 1000, 1030})
    watch(rows, [&](const auto& work) {
      for_row_ranges(at::kCPU, rows, 0, [&](int64_t first, int64_t count) {
        EXPECT_EQ(first % 16, 0) << first << " of " << rows;
        EXPECT_LE(count, 64) << rows;
        work(first, count);
      });
    });
}

TEST(RowRanges, JoinedSlicesAreTheWhole) {
  const at::Tensor x = at::arange(24, at::kFloat).view({2, 12});
  for (const int64_t slice : {0, 1, 5, 12})
    EXPECT_TRUE(joined_slices(12, slice, 1,
                              [&](int64_t first, int64_t count) { return 2 * x.narrow(1, first, count); })
                    .equal(2 * x))
        << slice;
}

}  // namespace
}  // namespace flowcache
