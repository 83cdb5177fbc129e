// SPDX-License-Identifier: LGPL-2.1-or-later
// fake-gpu-report: what a chunk in the steady state costs on the fake GPU, as JSON. tests/fake_gpu/report runs it and prints it.
#include <flowcache.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "counts.h"
#include "cudnn.h"

namespace {

using fake_gpu_test::between;
using fake_gpu_test::counts;
using fake_gpu_test::restart_peak;

struct GiveBack {
  void operator()(fc_engine* engine) const { fc_engine_unref(engine); }
  void operator()(fc_stream* stream) const { fc_stream_close(stream); }
};
using Engine = std::unique_ptr<fc_engine, GiveBack>;
using Stream = std::unique_ptr<fc_stream, GiveBack>;

struct Row {
  const char* name;   // of a template; "": the model that ships
  const char* label;  // in the table
  const char* kv;     // "": the model's
};
constexpr Row rows[] = {{"", "ambient, 256 x 160", ""},
                        {"self-forcing-1.3b", "Self-Forcing 1.3B", ""},
                        {"skyreels-v2-df-1.3b-540p", "SkyReels-V2 1.3B, kv=window", "window"},
                        {"skyreels-v2-df-1.3b-540p", "SkyReels-V2 1.3B, its own KV policy", ""},
                        {"magi-1-4.5b-distill", "MAGI-1 4.5B distilled", ""}};
constexpr int warm_up = 3;  // chunks until history is full and nothing is allocated any more

void check(fc_status status) {
  if (status != FC_OK) throw std::runtime_error(fc_last_error());
}

void next(const Stream& stream) {
  fc_chunk* chunk = nullptr;
  check(fc_stream_next(stream.get(), &chunk));
  fc_chunk_unref(chunk);
}

// What one chunk adds after so many.
FakeGpuCounts chunk_of(fc_engine* engine, const Row& row, uint32_t clean_context, int chunks) {
  fc_stream_config config = fc_stream_config_init();
  config.prompt = "orange fire";
  config.cache = "none";
  config.kv_cache = *row.kv ? row.kv : nullptr;
  config.clean_context = clean_context;
  if (!*row.name) config.width = 256, config.height = 160;
  fc_stream* opened = nullptr;
  check(fc_stream_open(engine, &config, &opened));
  const Stream stream(opened);
  for (int i = 0; i < chunks; ++i) next(stream);
  const FakeGpuCounts begin = counts();
  next(stream);
  return between(begin, counts());
}

nlohmann::json measure(const Row& row) {
  const std::string folder =
      std::string(FLOWCACHE_SOURCE_DIR "/models/") + (*row.name ? "templates/" : "ambient");
  const std::string model = *row.name ? "random:" + folder + row.name + ".json" : folder;
  fc_engine_config config = fc_engine_config_init();
  config.model = model.c_str();
  config.device = "cuda";
  config.precision = "bf16";
  if (!*row.name) config.width = 256, config.height = 160;
  const long before = counts().used;
  restart_peak();
  fc_engine* opened = nullptr;
  check(fc_engine_open(&config, nullptr, nullptr, &opened));
  const Engine engine(opened);
  fake_gpu_test::use_cudnn();
  const FakeGpuCounts chunk = chunk_of(opened, row, 0, warm_up);
  const long peak = counts().peak - before;
  // The clean pass is one forward in all branches, so that two streams differ by it.
  const long forward = chunk_of(opened, row, 2, 0).launches - chunk_of(opened, row, 1, 0).launches;
  return {{"model", row.label},
          {"launches", chunk.launches},
          {"forward", forward},
          {"syncs", chunk.syncs},
          {"copies", chunk.to_device + chunk.to_host},
          {"mallocs", chunk.mallocs},
          {"peak_mb", peak / 1'000'000}};
}

}  // namespace

int main() {
  if (!fake_gpu_test::is_preloaded("run tests/fake_gpu/report")) return 77;
  fake_gpu_test::refuse_cudnn();
  try {
    nlohmann::json all = nlohmann::json::array();
    for (const Row& row : rows) all.push_back(measure(row));
    std::printf("%s\n", all.dump(1).c_str());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fake-gpu-report: %s\n", error.what());
    return 1;
  }
  return 0;
}
