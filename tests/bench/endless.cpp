// SPDX-License-Identifier: LGPL-2.1-or-later
// bench-endless [--chunks 500] [--prompt TEXT] [--cache POLICY] [--kv-cache POLICY] [--threads N]
//
// One stream of the model that ships for many chunks, every frame written out: does anything grow, and how
// steady is the time per chunk? Prints ratios; the first chunks, while the history fills, are left out of
// them.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "base/sleep_at_barriers.h"
#include "flowcache.h"

namespace {

struct Options {
  int chunks = 500;
  uint32_t threads = 0;
  const char* prompt = "slow green aurora over mountains";
  const char* cache = nullptr;
  const char* kv_cache = nullptr;
};

double resident_megabytes() {
  std::ifstream file("/proc/self/statm");
  double total = 0, resident = 0;
  file >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1e6;
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(q * static_cast<double>(values.size())))];
}

// The least-squares slope of the values, per 100 of them: a growth that single samples would hide or fake.
double growth_per_100(const std::vector<double>& values) {
  const double n = static_cast<double>(values.size());
  double sum_x = 0, sum_y = 0, sum_xy = 0, sum_xx = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto x = static_cast<double>(i);
    sum_x += x, sum_y += values[i], sum_xy += x * values[i], sum_xx += x * x;
  }
  return 100 * (n * sum_xy - sum_x * sum_y) / (n * sum_xx - sum_x * sum_x);
}

bool failed(fc_status status) {
  if (status != FC_OK)
    std::fprintf(stderr, "bench-endless: %s: %s\n", fc_status_name(status), fc_last_error());
  return status != FC_OK;
}

bool write_frames(const fc_chunk* chunk, std::vector<uint8_t>& rgba, fc_chunk_info& info) {
  info.size = sizeof info;
  if (failed(fc_chunk_describe(chunk, &info))) return false;
  rgba.resize(size_t{4} * info.width * info.height);
  fc_planes planes{};
  planes.size = sizeof planes;
  planes.memory = FC_MEMORY_HOST;
  planes.format = FC_FORMAT_RGBA;
  planes.plane[0] = rgba.data();
  planes.stride[0] = 4 * info.width;
  for (uint32_t frame = 0; frame < info.frames; ++frame)
    if (failed(fc_chunk_write(chunk, frame, &planes))) return false;
  return true;
}

struct Series {
  std::vector<double> seconds, resident, kv, kv_allocated;
  uint64_t computed = 0, reused = 0;
};

bool collect(fc_stream* stream, const Options& options, Series& series) {
  std::vector<uint8_t> rgba;
  for (int i = 0; i < options.chunks; ++i) {
    fc_chunk* chunk = nullptr;
    if (failed(fc_stream_next(stream, &chunk))) return false;
    fc_chunk_info info{};
    const bool written = write_frames(chunk, rgba, info);
    fc_chunk_unref(chunk);
    if (!written) return false;
    fc_stream_stats stats{};
    stats.size = sizeof stats;
    if (failed(fc_stream_get_stats(stream, &stats))) return false;
    series.seconds.push_back(info.seconds);
    series.resident.push_back(resident_megabytes());
    series.kv.push_back(static_cast<double>(stats.kv_bytes) / 1e6);
    series.kv_allocated.push_back(static_cast<double>(stats.kv_allocated) / 1e6);
    series.computed = stats.steps_computed, series.reused = stats.steps_reused;
    if ((i + 1) % 50 == 0) std::fprintf(stderr, "chunk %d of %d\n", i + 1, options.chunks);
  }
  return true;
}

void report(const Series& all, const fc_model_info& model) {
  constexpr size_t warm = 20;  // the history is full and the allocators have seen everything once
  const auto tail = [](const std::vector<double>& v) {
    return std::vector<double>(v.begin() + warm, v.end());
  };
  const auto seconds = tail(all.seconds), resident = tail(all.resident), kv = tail(all.kv);
  const double play = model.frames_per_chunk * static_cast<double>(model.fps_d) / model.fps_n;
  const double p50 = quantile(seconds, 0.5), p99 = quantile(seconds, 0.99);
  std::printf("chunks %zu (the first %zu not counted), steps computed %.3f of all\n", all.seconds.size(),
              warm, static_cast<double>(all.computed) / static_cast<double>(all.computed + all.reused));
  std::printf("chunk time p50 %.0f ms, p99 %.0f ms, largest %.0f ms\n", p50 * 1e3, p99 * 1e3,
              quantile(seconds, 1) * 1e3);
  std::printf("p99 / p50 of chunk time        %.2f\n", p99 / p50);
  std::printf("playing time / chunk time p50  %.2f\n", play / p50);
  std::printf("resident growth                %+.3f MB per 100 chunks (%.1f -> %.1f MB)\n",
              growth_per_100(resident), resident.front(), resident.back());
  std::printf("KV bytes growth                %+.3f MB per 100 chunks (%.2f -> %.2f MB)\n",
              growth_per_100(kv), kv.front(), kv.back());
  std::printf("KV buffer growth               %+.3f MB (%.2f MB from the start)\n",
              all.kv_allocated.back() - all.kv_allocated.front(), all.kv_allocated.front());
}

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--chunks")
      options.chunks = std::atoi(argv[i + 1]);
    else if (name == "--threads")
      options.threads = static_cast<uint32_t>(std::atoi(argv[i + 1]));
    else if (name == "--prompt")
      options.prompt = argv[i + 1];
    else if (name == "--cache")
      options.cache = argv[i + 1];
    else if (name == "--kv-cache")
      options.kv_cache = argv[i + 1];
    else
      return false;
  }
  return argc % 2 == 1 && options.chunks > 40;
}

}  // namespace

int main(int argc, char** argv) {
  flowcache::sleep_at_barriers(argv);
  Options options;
  if (!parse(argc, argv, options)) {
    std::fprintf(stderr,
                 "bench-endless [--chunks N > 40] [--prompt TEXT] [--cache POLICY] [--kv-cache POLICY] "
                 "[--threads N]\n");
    return 2;
  }
  fc_engine_config engine_config{};
  engine_config.size = sizeof engine_config;
  engine_config.threads = options.threads;
  fc_stream_config stream_config{};
  stream_config.size = sizeof stream_config;
  stream_config.prompt = options.prompt;
  stream_config.cache = options.cache;
  stream_config.kv_cache = options.kv_cache;
  stream_config.seed = 1;
  fc_engine* engine = nullptr;
  fc_stream* stream = nullptr;
  fc_model_info model{};
  model.size = sizeof model;
  Series series;
  const bool good = !failed(fc_engine_open(&engine_config, nullptr, nullptr, &engine)) &&
                    !failed(fc_engine_describe(engine, &model)) &&
                    !failed(fc_stream_open(engine, &stream_config, &stream)) &&
                    collect(stream, options, series);
  if (good) report(series, model);
  fc_stream_close(stream);
  fc_engine_unref(engine);
  return good ? 0 : 1;
}
