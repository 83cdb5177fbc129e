// SPDX-License-Identifier: LGPL-2.1-or-later
// simd-check [--bench] [FILTER]: TAP; with --bench the time of each case too.
#include "check.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "simd/targets.h"

namespace {

// Least time of a run in seconds: of runs for a twentieth of a second.
double time_of(const check::Case& one) {
  using Clock = std::chrono::steady_clock;
  double least = HUGE_VAL;
  const auto end = Clock::now() + std::chrono::milliseconds(50);
  do {
    const auto start = Clock::now();
    one.run();
    least = std::min(least, std::chrono::duration<double>(Clock::now() - start).count());
  } while (Clock::now() < end);
  return least;
}

}  // namespace

int main(int argc, char** argv) {
  bool bench = false;
  std::string filter;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--bench") == 0)
      bench = true;
    else if (argv[i][0] != '-' && filter.empty())
      filter = argv[i];
    else
      return std::fprintf(stderr, "simd-check [--bench] [FILTER]\n"), 2;
  }
  std::vector<check::Case> cases;
  check::add_attention(cases);
  check::add_products(cases);
  check::add_rows(cases);
  check::add_pixels(cases);
  int count = 0, failed = 0;
  for (const std::string& target : flowcache::simd::runnable_targets())
    for (const check::Case& one : cases) {
      const std::string name = one.name + ", " + target;
      if (name.find(filter) == std::string::npos) continue;
      flowcache::simd::force_target(target);
      if (one.widest && target != "AVX3") continue;
      if (flowcache::simd::target_name() != target) {
        std::printf("not ok %d - %s # runs as %s\n", ++count, name.c_str(),
                    flowcache::simd::target_name().c_str());
        ++failed;
        continue;
      }
      if (one.prepare) one.prepare();
      one.run();
      const double error = one.error();
      const bool good = error <= 1;
      failed += !good;
      std::printf("%s %d - %s", good ? "ok" : "not ok", ++count, name.c_str());
      if (!good) std::printf(" # %.3g times the error that is allowed", error);
      if (bench) {
        const double seconds = time_of(one);
        if (one.flops > 0)
          std::printf(" # %9.1f us %7.1f GFLOP/s", seconds * 1e6, one.flops / seconds * 1e-9);
        else
          std::printf(" # %9.1f us %7.2f values/ns", seconds * 1e6, one.values / seconds * 1e-9);
      }
      std::printf("\n");
    }
  std::printf("1..%d\n", count);
  return failed || count == 0 ? 1 : 0;
}
