// SPDX-License-Identifier: LGPL-2.1-or-later
// bench-governor [CHUNKS] [POLICY]: cache=auto, or auto:by=POLICY, before, under and after a load of its own
// threads; one line a chunk, and what the phases add up to.
#include <atomic>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "base/resources.h"
#include "base/sleep_at_barriers.h"
#include "flowcache.h"

namespace {

void check(fc_status status) {
  if (status == FC_OK) return;
  std::fprintf(stderr, "bench-governor: %s\n", fc_last_error());
  std::exit(1);
}

// Threads that do nothing but take time from the others.
class Load {
 public:
  explicit Load(unsigned threads) {
    for (unsigned i = 0; i < threads; ++i)
      threads_.emplace_back([this] {
        while (!stop_) {
        }
      });
  }
  ~Load() {
    stop_ = true;
    for (auto& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

void run(fc_stream* stream, const char* phase, int chunks) {
  int late = 0;
  double most_late = 0, computed = 0;
  for (int i = 0; i < chunks; ++i) {
    fc_chunk* chunk = nullptr;
    check(fc_stream_next(stream, &chunk));
    fc_chunk_info info{};
    info.size = sizeof info;
    check(fc_chunk_describe(chunk, &info));
    fc_stream_stats stats{};
    stats.size = sizeof stats;
    check(fc_stream_get_stats(stream, &stats));
    std::printf("%-7s chunk %3llu  %6.1f ms of %.0f  computed %2u of %u  level %u  threshold %.3f%s\n", phase,
                static_cast<unsigned long long>(info.chunk), 1e3 * info.seconds, 1e3 * stats.deadline_seconds,
                info.steps_computed, info.steps_computed + info.steps_reused, stats.governor_level,
                info.cache_threshold, info.seconds > stats.deadline_seconds ? "  late" : "");
    fc_chunk_unref(chunk);
    computed += info.steps_computed;
    late += info.seconds > stats.deadline_seconds;
    most_late = std::max(most_late, 1e3 * (info.seconds - stats.deadline_seconds));
  }
  std::printf("%-7s in all: %d of %d chunks late, by at most %.0f ms; %.1f steps computed a chunk\n", phase,
              late, chunks, std::max(0.0, most_late), computed / chunks);
}

}  // namespace

int main(int argc, char** argv) {
  flowcache::sleep_at_barriers(argv);
  std::setlocale(LC_ALL, "C");
  const std::string policy = argc > 2 ? std::string("auto:by=") + argv[2] : "auto";
  const int chunks = argc > 1 ? std::max(1, std::atoi(argv[1])) : 20;
  fc_engine_config engine_config{};
  engine_config.size = sizeof engine_config;
  fc_stream_config config{};
  config.size = sizeof config;
  config.prompt = "orange fire";
  config.cache = policy.c_str();
  fc_engine* engine = nullptr;
  fc_stream* stream = nullptr;
  check(fc_engine_open(&engine_config, nullptr, nullptr, &engine));
  check(fc_stream_open(engine, &config, &stream));
  run(stream, "alone", 2 * chunks);
  {
    const Load load(flowcache::allowed_cpus());
    run(stream, "loaded", chunks);
  }
  run(stream, "after", chunks);
  fc_stream_close(stream);
  fc_engine_unref(engine);
  return 0;
}
