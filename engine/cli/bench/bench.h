// SPDX-License-Identifier: LGPL-2.1-or-later
// The cases of a benchmark, running them side by side, and what came out.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "flowcache.h"

namespace flowcache::cli {

struct BenchCase {
  std::string cache = "none", kv_cache;  // policy specs
  double threshold = 0;  // 0, here and below: the model's
  uint64_t kv_budget = 0;
  uint32_t steps = 0, lag = 0;
  double guidance = 0;
  uint32_t clean_context = 0;
  std::string name() const;
  // Cases that differ only in caching share the uncached video they are compared with.
  bool same_video(const BenchCase& other) const;
};

struct BenchPlan {
  std::vector<BenchCase> cases;  // each group of same_video() cases begins with its uncached reference
  std::vector<std::string> prompts;
  int chunks = 6;
  uint64_t seed = 1;
  fc_picture_size size{};  // zeros: native
};

struct ChunkMeasure {
  double seconds = 0;
  double mse = 0, ssim = 1, flicker = 0;  // against the reference's chunk
  uint64_t kv_bytes = 0;
  double flops = 0;
  std::vector<uint8_t> decisions;
};

struct BenchResult {
  BenchCase what;
  size_t reference = 0;                            // index of the uncached case
  std::vector<std::vector<ChunkMeasure>> prompts;  // [prompt][chunk]
  std::string refused;                             // why the case could not run; then the rest is empty
  uint64_t kv_budget = 0, kv_allocated = 0;
};

// Runs every case on every prompt in one process, chunk by chunk in turn, so that noise hits all alike.
// `progress` is told the share done. Throws std::runtime_error if a reference cannot run.
std::vector<BenchResult> run_bench(fc_engine* engine, const BenchPlan& plan,
                                   const std::function<void(double)>& progress);

// Figures over all prompts and chunks of a case.
struct BenchSummary {
  double speedup = 1;   // sampling + decode time of the reference divided by the case's, from the same run
  double realtime = 0;  // video real-time factor: playing time / making time
  double deadline = 0;  // share of chunks made within their playing time
  double p50 = 0, p95 = 0, p99 = 0, first_chunk = 0;  // seconds
  uint64_t computed = 0, reused = 0;
  // In dB. psnr: mean over the chunks, as papers take the mean over videos; pooled: of the mean squared
  // error, which the worst chunks rule; worst: of any chunk.
  double psnr = 0, pooled_psnr = 0, worst_psnr = 0;
  double ssim = 1, flicker = 0;
  uint64_t kv_bytes = 0;      // largest
  double flops = 0;           // of the network's blocks, a chunk
  std::vector<double> drift;  // PSNR by chunk index, over prompts
};
BenchSummary summarise(const BenchResult& result, const BenchResult& reference, double chunk_playing_seconds);

// Terminal table; JSON; one self-contained HTML page with plots.
std::string bench_table(const std::vector<BenchResult>& results, const fc_model_info& model);
std::string bench_json(const std::vector<BenchResult>& results, const BenchPlan& plan,
                       const fc_model_info& model, const fc_cpu_info& cpu);
std::string bench_html(const std::string& json);

}  // namespace flowcache::cli
