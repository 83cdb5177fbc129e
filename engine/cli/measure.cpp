// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcache measure: measures the time of a step and of a chunk, and the memory, with a model's weights or
// without.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <optional>
#include <thread>

#include "cli/commands.h"
#include "cli/handles.h"
#include "cli/interrupt.h"

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

// Ctrl-C has stopped the stream.
struct Interrupted {};

// Says on standard error how far the step is that runs, once a second, and the first time as soon as one layer is done: on
// a terminal in one line, which goes when this is destroyed.
class StepProgress {
 public:
  ~StepProgress() {
    if (said_ && on_terminal_) std::fputs("\r\033[K", stderr);
  }
  void look(const fc_stream_stats& now) {
    const uint64_t step = now.steps_computed + now.steps_reused;
    if (step != step_ || now.step_layers == 0) {
      step_ = step;
      began_ = Clock::now();
    }
    const double elapsed = seconds_since(began_);
    if (now.step_layers_reached < 2 || (said_ && seconds_since(*said_) < 1)) return;
    said_ = Clock::now();
    // A layer counts when it is reached, so the last of these is not done yet.
    const uint32_t done = now.step_layers_reached - 1;
    std::fprintf(stderr, "%sstep %llu: %u of %u layers, %.1f s, about %.0f s to go%s",
                 on_terminal_ ? "\r" : "", static_cast<unsigned long long>(step + 1), done, now.step_layers,
                 elapsed, elapsed * (now.step_layers - done) / done, on_terminal_ ? "\033[K" : "\n");
  }

 private:
  const bool on_terminal_ = isatty(STDERR_FILENO) != 0;
  uint64_t step_ = UINT64_MAX;
  Clock::time_point began_ = Clock::now();
  std::optional<Clock::time_point> said_;
};

// Computes the next chunk. after_step: called once, on another thread, when the stream has done a step.
fc_status next_chunk(fc_stream* stream, OwnedChunk* chunk, const std::function<void()>& after_step) {
  const uint64_t before = stats_of(stream).steps_computed;
  std::jthread watch([&](const std::stop_token& stop) {
    StepProgress progress;
    bool told = false;
    while (!stop.stop_requested()) {
      const fc_stream_stats now = stats_of(stream);
      if (!told && now.steps_computed > before) {
        told = true;
        after_step();
      }
      progress.look(now);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  fc_chunk* next = nullptr;
  const fc_status status = fc_stream_next(stream, &next);
  chunk->reset(next);
  watch.request_stop();
  watch.join();
  if (CancelOnCtrlC::exit_status() != 0) throw Interrupted();
  return status;
}

// Seconds until the first step is done. The stream stops there.
double first_step(fc_stream* stream) {
  const auto start = Clock::now();
  double seconds = 0;
  OwnedChunk whole;
  const fc_status status = next_chunk(stream, &whole, [&] {
    seconds = seconds_since(start);
    fc_stream_cancel(stream);
  });
  if (status != FC_CANCELLED)
    check(status);  // a chunk of a single step is finished before it can be cancelled
  return seconds > 0 ? seconds : seconds_since(start);
}

void measure_chunks(fc_stream* stream, uint32_t chunks) {
  for (uint32_t i = 0; i < chunks; ++i) {
    const auto start = Clock::now();
    OwnedChunk chunk;
    check(next_chunk(stream, &chunk, [] {}));
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
  const CancelOnCtrlC ctrl_c(stream.get());
  try {
    std::printf("one step           %.3f s%s\n", first_step(stream.get()),
                before.guidance_scale != 1 ? ", all guidance branches" : "");
    if (!a.step_only) measure_chunks(stream.get(), a.chunks);
  } catch (const Interrupted&) {
    const fc_stream_stats now = stats_of(stream.get());
    std::fprintf(stderr, "flowcache: interrupted in step %llu; resident at most %s\n",
                 static_cast<unsigned long long>(now.steps_computed + now.steps_reused + 1),
                 megabytes(resident("VmHWM")).c_str());
    return CancelOnCtrlC::exit_status();
  }
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
