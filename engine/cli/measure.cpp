// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcache measure: measures the time of a step and of a chunk, and the memory, with a model's weights or
// without.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <thread>

#include "cli/commands.h"
#include "cli/handles.h"

namespace flowcache::cli {

namespace {

using Clock = std::chrono::steady_clock;

struct MeasureArguments {
  EngineChoice engine;
  bool random = false, step_only = false;
  uint32_t chunks = 1;
  std::string cache = "none", kv_cache;
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Memory of this process in bytes. "VmRSS": now; "VmHWM": the most so far.
double resident(const char* field) {
  std::ifstream status("/proc/self/status");
  double kib = 0;
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(field)) kib = std::stod(line.substr(line.find(':') + 1));
  return kib * 1024;
}

fc_stream_stats stats_of(fc_stream* stream) {
  fc_stream_stats stats{};
  stats.size = sizeof stats;
  check(fc_stream_get_stats(stream, &stats));
  return stats;
}

// Seconds until the first step is done. The stream stops there.
double first_step(fc_stream* stream) {
  const auto start = Clock::now();
  double seconds = 0;
  std::jthread watch([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      if (stats_of(stream).steps_computed > 0) {
        seconds = seconds_since(start);
        fc_stream_cancel(stream);
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  fc_chunk* chunk = nullptr;
  const fc_status status = fc_stream_next(stream, &chunk);
  const OwnedChunk whole(chunk);
  watch.request_stop();
  watch.join();
  if (status != FC_CANCELLED)
    check(status);  // a chunk of a single step is finished before it can be cancelled
  return seconds > 0 ? seconds : seconds_since(start);
}

void measure_chunks(fc_stream* stream, uint32_t chunks) {
  for (uint32_t i = 0; i < chunks; ++i) {
    const auto start = Clock::now();
    fc_chunk* next = nullptr;
    check(fc_stream_next(stream, &next));
    const OwnedChunk chunk(next);
    const fc_stream_stats stats = stats_of(stream);
    std::printf("chunk %u             %.3f s, of which decoding %.3f s%s\n", i, seconds_since(start),
                stats.last_decode_seconds,
                i == 0 ? "; without its first step, and with steps of the chunks after it" : "");
  }
}

int run(MeasureArguments a) {
  if (a.random) a.engine.model = "random:" + (a.engine.model.empty() ? fc_default_model() : a.engine.model);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const auto start = Clock::now();
  const OwnedEngine engine = a.engine.open();
  std::printf("loaded             %.1f s, on %s in %s%s\n", seconds_since(start),
              fc_engine_device(engine.get()), fc_engine_precision(engine.get()),
              a.random ? ", random weights" : "");
  std::printf("resident           %s\n", megabytes(resident("VmRSS")).c_str());
  fc_stream_config config{};
  config.size = sizeof config;
  config.prompt = "a slow green aurora over mountains";
  config.cache = a.cache.c_str();
  config.kv_cache = a.kv_cache.c_str();
  config.width = a.engine.size.width;
  config.height = a.engine.size.height;
  fc_stream* opened = nullptr;
  check(fc_stream_open(engine.get(), &config, &opened));
  const OwnedStream stream(opened);
  const fc_stream_stats before = stats_of(stream.get());
  std::printf("KV buffer          %s for history and %u chunks in flight\n",
              megabytes(static_cast<double>(before.kv_allocated)).c_str(), before.chunks_in_flight);
  std::printf("one step           %.3f s%s\n", first_step(stream.get()),
              before.guidance_scale != 1 ? ", all guidance branches" : "");
  if (!a.step_only) measure_chunks(stream.get(), a.chunks);
  std::printf("resident at most   %s\n", megabytes(resident("VmHWM")).c_str());
  return 0;
}

}  // namespace

Command add_measure(CLI::App& app) {
  auto a = std::make_shared<MeasureArguments>();
  auto* command = app.add_subcommand("measure", "Measure time and memory of one step and of whole chunks");
  a->engine.add_options(*command);
  command->add_flag("--random-weights", a->random,
                    "Use random weights of the shapes in model.json; no other file is read");
  command->add_flag("--step-only", a->step_only, "Stop after one step");
  command->add_option("--chunks", a->chunks, "Number of chunks to measure")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--cache", a->cache, "Reuse policy")->capture_default_str();
  command->add_option("--kv-cache", a->kv_cache, "KV policy; default: the model's");
  return [a] { return run(*a); };
}

}  // namespace flowcache::cli
