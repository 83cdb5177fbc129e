// SPDX-License-Identifier: LGPL-2.1-or-later
// The cases of a benchmark, how they are run, and their results.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "flowcache.h"

namespace flowcache::cli {

struct BenchCase {
  std::string cache = "none", kv_cache;  // policy specs
  double threshold = 0;                  // here and below, 0 means the model's value
  uint64_t kv_budget = 0;
  uint32_t steps = 0, lag = 0;
  double guidance = 0;
  uint32_t clean_context = 0;
  std::string name() const;
  // True if the cases differ only in caching. Such cases are compared with the same uncached video.
  bool same_video(const BenchCase& other) const;
};

struct BenchPlan {
  std::vector<BenchCase> cases;  // the first of each group of same_video() cases is the uncached reference
  std::vector<std::string> prompts;
  int chunks = 6;
  uint64_t seed = 1;
  fc_picture_size size{};  // zeros: the model's own
};

struct ChunkMeasure {
  double seconds = 0;
  double mse = 0, ssim = 1, flicker = 0;  // compared with the reference's chunk
  uint64_t kv_bytes = 0;
  double flops = 0;
  std::vector<uint8_t> decisions;
};

struct BenchResult {
  BenchCase what;
  size_t reference = 0;                            // index of the uncached case
  std::vector<std::vector<ChunkMeasure>> prompts;  // [prompt][chunk]
  std::string refused;  // why the case could not run (then the rest is empty); or ""
  uint64_t kv_budget = 0, kv_allocated = 0;
};

// Runs every case on every prompt in one process. The cases take turns, one chunk each, so that disturbances
// hit all of them alike. Calls `progress` with the share that is done, 0..1. Throws std::runtime_error if a
// reference cannot run.
std::vector<BenchResult> run_bench(fc_engine* engine, const BenchPlan& plan,
                                   const std::function<void(double)>& progress);

// The figures of a case over all prompts and chunks.
struct BenchSummary {
  double speedup = 1;  // time of sampling and decoding in the same run: the reference's divided by the case's
  double realtime = 0;                                // playing time / time to make it
  double deadline = 0;                                // share of chunks that took at most their playing time
  double p50 = 0, p95 = 0, p99 = 0, first_chunk = 0;  // seconds for a chunk
  uint64_t computed = 0, reused = 0;
  // In dB. psnr: mean of the chunks' PSNR, as papers take the mean over videos. pooled_psnr: PSNR of the mean
  // squared error, in which the worst chunks count most. worst_psnr: the lowest of all chunks.
  double psnr = 0, pooled_psnr = 0, worst_psnr = 0;
  double ssim = 1, flicker = 0;
  uint64_t kv_bytes = 0;      // largest
  double flops = 0;           // of the network's blocks, for a chunk
  std::vector<double> drift;  // PSNR by chunk index, mean over the prompts
};
BenchSummary summarise(const BenchResult& result, const BenchResult& reference, double chunk_playing_seconds);

// The results as a table for the terminal, as JSON, and as one HTML page with plots.
std::string bench_table(const std::vector<BenchResult>& results, const fc_model_info& model);
std::string bench_json(const std::vector<BenchResult>& results, const BenchPlan& plan,
                       const fc_model_info& model, const fc_cpu_info& cpu);
std::string bench_html(const std::string& json);

}  // namespace flowcache::cli
