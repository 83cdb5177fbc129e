// SPDX-License-Identifier: LGPL-2.1-or-later
// How often a chunk makes the host wait for the device, or the device for the host: what a GPU pays for in time.
#include "spare_budgets.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstdio>

#include "spare_compare.h"

namespace spare {
namespace {

// Of one chunk, at most. A change that makes do with less lowers these numbers.
struct Budget {
  const char* name;
  std::shared_ptr<LoadedModel> (*make)(at::Device);
  StreamConfig config;
  int64_t to_device, to_host, items;
};

StreamConfig with(const std::string& cache, const std::string& kv, double guidance = -1) {
  return {.prompt = "orange fire", .cache = cache, .kv_cache = kv, .guidance = guidance};
}

const std::vector<Budget>& budgets() {
  static const std::vector<Budget> all = {
      {"wan, nothing reused", wan, with("none", "window"), 68, 0, 1},
      {"wan, flowcache", wan, with("flowcache", "window"), 56, 4, 1},
      {"wan, flowcache, kv flowcache", wan, with("flowcache", "flowcache"), 56, 6, 1},
      {"wan, guided, attention", wan, with("attention", "window", 3), 126, 0, 1},
      {"wan, few_step", few_step_wan, with("none", "window"), 43, 0, 1},
      {"ambient, as it ships", ambient, with("", ""), 67, 0, 1},
      {"skyreels, flowcache, kv flowcache", skyreels, with("", ""), 81, 11, 1},
      {"skyreels, nothing reused", skyreels, with("none", "window"), 165, 0, 1},
      {"magi, flowcache, kv flowcache", magi, with("", ""), 5, 12, 1},
      {"magi, nothing reused", magi, with("none", "window"), 5, 0, 1},
      {"magi base, three passes", magi_base, with("none", "window"), 9, 0, 1},
  };
  return all;
}

// The most of any chunk, once history is full.
Counts measure(const Budget& budget) {
  const c10::InferenceMode inference;
  StreamConfig config = budget.config;
  if (budget.make == &ambient) config.width = 256, config.height = 160;
  Stream stream(budget.make(device), config);
  for (int i = 0; i < 3; ++i) stream.next();
  Counts most;
  for (int i = 0; i < 2; ++i) {
    const Counts before = counts();
    stream.next();
    const Counts made = counts() - before;
    most = {std::max(most.calls, made.calls), std::max(most.to_device, made.to_device),
            std::max(most.to_host, made.to_host), std::max(most.items, made.items),
            std::max(most.waits, made.waits)};
  }
  return most;
}

class SpareBudgets : public testing::TestWithParam<size_t> {};

TEST_P(SpareBudgets, AreKept) {
  const Budget& budget = budgets()[GetParam()];
  const Counts made = measure(budget);
  EXPECT_LE(made.to_device, budget.to_device) << budget.name;
  EXPECT_LE(made.to_host, budget.to_host) << budget.name;
  EXPECT_LE(made.items, budget.items) << budget.name;
}

INSTANTIATE_TEST_SUITE_P(Kinds, SpareBudgets, testing::Range(size_t{0}, budgets().size()));

}  // namespace

void print_budgets() {
  std::printf("%-36s %8s %18s %18s %18s\n", "a chunk, at most", "calls", "to the device", "to the host",
              "item()");
  for (const Budget& budget : budgets()) {
    const Counts made = measure(budget);
    std::printf("%-36s %8ld", budget.name, static_cast<long>(made.calls));
    const std::pair<int64_t, int64_t> columns[] = {
        {made.to_device, budget.to_device}, {made.to_host, budget.to_host}, {made.items, budget.items}};
    for (const auto& [is, may] : columns)
      std::printf(" %9ld of %5ld", static_cast<long>(is), static_cast<long>(may));
    std::printf("\n");
  }
}

}  // namespace spare
