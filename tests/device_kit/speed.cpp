// SPDX-License-Identifier: LGPL-2.1-or-later
// How fast a device is: frames while chunks are made, steps, decoding, and a long stream that does not grow.
#include <atomic>
#include <fstream>
#include <mutex>
#include <thread>

#include "kit.h"

namespace device_kit {
namespace {

fc_stream_stats stats_of(const Stream& stream) {
  fc_stream_stats stats = fc_stream_stats_init();
  check(fc_stream_get_stats(stream.get(), &stats));
  return stats;
}

double resident() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS:")) return std::stod(line.substr(6)) * 1024;
  return 0;
}

double milliseconds(const std::vector<double>& seconds, double p) {
  return 1e3 * quantile(seconds, p);
}

}  // namespace

// Frames of the last chunk are written while the next ones are made, as a player does.
json check_frames(const Options& options) {
  const Engine engine = open_engine(options, options.device);
  const auto stream = open_stream(engine, options, {});
  std::mutex mutex;
  std::shared_ptr<fc_chunk> latest(next(*stream).release(), fc_chunk_unref);
  std::atomic<bool> done = false;
  std::vector<double> writes;
  std::string problem;
  const Watch watch;
  {
    const std::jthread writer([&] {
      try {
        for (uint32_t frame = 0; !done; ++frame) {
          std::shared_ptr<fc_chunk> chunk;
          {
            const std::lock_guard lock(mutex);
            chunk = latest;
          }
          const Chunk held(fc_chunk_ref(chunk.get()));
          const Watch one;
          rgba_of(held, frame % info_of(held).frames);
          writes.push_back(one.seconds());
          std::this_thread::sleep_for(std::chrono::milliseconds(4));
        }
      } catch (const std::exception& error) {
        problem = error.what();
      }
    });
    for (int i = 0; i < options.chunks; ++i) {
      std::shared_ptr<fc_chunk> made(next(*stream).release(), fc_chunk_unref);
      const std::lock_guard lock(mutex);
      latest = std::move(made);
    }
    done = true;
  }
  if (writes.empty() && problem.empty()) problem = "no frame was written";
  return {{"ok", problem.empty()},
          {"why", problem},
          {"frames", writes.size()},
          {"p50_ms", milliseconds(writes, 0.5)},
          {"p99_ms", milliseconds(writes, 0.99)},
          {"seconds_a_chunk", watch.seconds() / options.chunks}};
}

// Times of a chunk's parts. The clean pass is what a stream with it takes more than one without; making room in the
// history (compaction) shows as the difference between the chunks before and after it is full.
json check_speed(const Options& options) {
  const double base = used_bytes(options);
  const Watch loading;
  const Engine engine = open_engine(options, options.device);
  const double load = loading.seconds();
  double peak = 0;
  struct Times {
    double first = 0, early = 0, late = 0, decode = 0;
    fc_stream_stats stats{};
  };
  const auto run = [&](uint32_t clean) {
    const auto stream = open_stream(engine, options, {.clean_context = clean});
    if (!stream) throw std::runtime_error(fc_last_error());
    Times t;
    std::vector<double> early, late, decode;
    for (int i = 0; i < options.chunks; ++i) {
      const fc_chunk_info info = info_of(next(*stream));
      t.stats = stats_of(*stream);
      if (i == 0) t.first = info.seconds;
      if (i > 0) (2 * i < options.chunks ? early : late).push_back(info.seconds);
      decode.push_back(t.stats.last_decode_seconds);
      peak = std::max(peak, used_bytes(options) - base);
    }
    t.early = quantile(early, 0.5);
    t.late = quantile(late, 0.5);
    t.decode = quantile(decode, 0.5);
    return t;
  };
  const Times with = run(2), without = run(1);
  const uint32_t steps = std::max(1u, with.stats.steps);
  const double chunk = options.chunks > 1 ? without.late : without.first;
  return {{"ok", true},
          {"why", ""},
          {"load_s", load},
          {"first_chunk_s", with.first},
          {"chunk_s", options.chunks > 1 ? with.late : with.first},
          {"decode_s", with.decode},
          {"step_s_at_most", chunk / steps},
          {"step_s_if_decoded_in_turn", (chunk - without.decode) / steps},
          {"clean_pass_s", with.late - without.late},
          {"late_minus_early_s", with.late - with.early},
          {"steps", steps},
          {"peak_mb", peak / 1e6},
          {"kv_mb", static_cast<double>(with.stats.kv_allocated) / 1e6}};
}

// A long stream: memory after a tenth of it and at its end, and the times of its chunks.
json check_endless(const Options& options) {
  const Engine engine = open_engine(options, options.device);
  const auto stream = open_stream(engine, options, {.cache = "flowcache"});
  double device_before = 0, host_before = 0;
  std::vector<double> seconds;
  const Watch watch;
  for (int i = 0; i < options.chunks && watch.seconds() < options.seconds; ++i) {
    const Chunk chunk = next(*stream);
    if (i == std::max(2, options.chunks / 10)) device_before = used_bytes(options), host_before = resident();
    seconds.push_back(info_of(chunk).seconds);
  }
  const double device = device_before > 0 ? used_bytes(options) - device_before : 0;
  const double host = host_before > 0 ? resident() - host_before : 0;
  std::string why;
  if (options.device.starts_with("cuda") && device > 8e6) why = "the device's memory grows";
  if (host > 64e6) why += " the host's memory grows";
  if (host_before == 0) why = "too few chunks to see whether memory grows: " + std::to_string(seconds.size());
  return {{"ok", why.empty()},
          {"why", why},
          {"chunks", seconds.size()},
          {"device_growth_mb", device / 1e6},
          {"host_growth_mb", host / 1e6},
          {"p50_ms", milliseconds(seconds, 0.5)},
          {"p99_ms", milliseconds(seconds, 0.99)}};
}

// Another takes the GPU's memory: what asks for more is refused in a sentence, the stream that runs goes on afterwards.
json check_memory(const Options& options) {
  const Engine engine = open_engine(options, options.device);
  const auto stream = open_stream(engine, options, {});
  next(*stream);
  const Runtime runtime;
  if (!options.device.starts_with("cuda") || !runtime.there)
    return {{"ok", true}, {"why", ""}, {"skipped", "memory can be taken away on a GPU only"}};
  std::vector<void*> taken;
  for (size_t block = size_t{4} << 30; block >= size_t{1} << 20;) {
    void* memory = nullptr;
    if (runtime.allocate(&memory, block) == 0)
      taken.push_back(memory);
    else
      block /= 2;
  }
  runtime.last_error();  // the refusals are no concern of LibTorch's
  std::string refusal, why;
  std::vector<Stream> others;
  try {
    while (others.size() < 1000) {
      others.push_back(std::move(*open_stream(engine, options, {})));
      next(others.back());
    }
    why = "a thousand streams fit a GPU without memory";
  } catch (const std::exception& error) {
    refusal = error.what();
  }
  others.clear();
  for (void* memory : taken) runtime.release(memory);
  if (refusal.find("memory") == std::string::npos && why.empty())
    why = "refused, but not for memory: " + refusal;
  next(*stream);
  next(*open_stream(engine, options, {}));
  next(*open_stream(open_engine(options, "cpu"), options, {}));
  return {{"ok", why.empty()}, {"why", why}, {"refusal", refusal}, {"blocks_taken", taken.size()}};
}

}  // namespace device_kit
