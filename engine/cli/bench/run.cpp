// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "cli/bench/bench.h"
#include "cli/bench/metrics.h"
#include "cli/commands.h"
#include "cli/handles.h"

namespace flowcache::cli {

namespace {

// Returns null and sets `refused` if the engine refuses the combination.
OwnedStream open(fc_engine* engine, const BenchCase& one, const std::string& prompt, uint64_t seed,
                 const fc_picture_size& size, BenchResult& result) {
  fc_stream_config config{};
  config.size = sizeof config;
  config.prompt = prompt.c_str();
  config.seed = seed;
  config.cache = one.cache.c_str();
  config.kv_cache = one.kv_cache.c_str();
  config.cache_threshold = one.threshold;
  config.kv_budget = one.kv_budget;
  config.steps = one.steps;
  config.lag = one.lag;
  config.guidance_scale = one.guidance;
  config.clean_context = one.clean_context;
  config.width = size.width;
  config.height = size.height;
  fc_stream* stream = nullptr;
  if (fc_stream_open(engine, &config, &stream) != FC_OK) {
    result.refused = fc_last_error();
    return nullptr;
  }
  fc_stream_stats stats{};
  stats.size = sizeof stats;
  check(fc_stream_get_stats(stream, &stats));
  result.kv_budget = stats.kv_budget;
  result.kv_allocated = stats.kv_allocated;
  result.what.threshold = stats.cache_threshold;
  return OwnedStream(stream);
}

ShownFrames pixels(const fc_chunk* chunk, const fc_chunk_info& info) {
  ShownFrames frames{
      static_cast<int>(info.width), static_cast<int>(info.height), static_cast<int>(info.frames), {}};
  frames.rgba.resize(size_t{4} * info.width * info.height * info.frames);
  fc_planes planes{};
  planes.size = sizeof planes;
  planes.stride[0] = 4 * info.width;
  for (uint32_t i = 0; i < info.frames; ++i) {
    planes.plane[0] = const_cast<uint8_t*>(frames.frame(static_cast<int>(i)));
    check(fc_chunk_write(chunk, i, &planes));
  }
  return frames;
}

struct Made {
  ChunkMeasure measure;
  ShownFrames frames;
};

Made make_chunk(fc_stream* stream) {
  fc_chunk* chunk = nullptr;
  check(fc_stream_next(stream, &chunk));
  const OwnedChunk owned(chunk);
  fc_chunk_info info{};
  info.size = sizeof info;
  check(fc_chunk_describe(chunk, &info));
  Made made{{}, pixels(chunk, info)};
  made.measure.seconds = info.seconds;
  made.measure.kv_bytes = info.kv_bytes;
  made.measure.flops = info.flops;
  made.measure.decisions.assign(info.decisions, info.decisions + info.steps_computed + info.steps_reused);
  return made;
}

}  // namespace

std::string BenchCase::name() const {
  std::string text = cache;
  char part[64];
  if (threshold != 0 && cache != "none") {
    std::snprintf(part, sizeof part, " eps=%g", threshold);
    text += part;
  }
  if (!kv_cache.empty()) text += " kv=" + kv_cache;
  if (kv_budget) text += " budget=" + megabytes(static_cast<double>(kv_budget));
  if (steps) text += " steps=" + std::to_string(steps);
  if (clean_context) text += clean_context == 1 ? " no clean pass" : " clean pass";
  if (lag) text += " lag=" + std::to_string(lag);
  return text;
}

bool BenchCase::same_video(const BenchCase& other) const {
  return steps == other.steps && lag == other.lag && guidance == other.guidance;
}

std::vector<BenchResult> run_bench(fc_engine* engine, const BenchPlan& plan,
                                   const std::function<void(double)>& progress) {
  std::vector<BenchResult> results;
  for (const BenchCase& one : plan.cases) {
    BenchResult result;
    result.what = one;
    result.reference =
        std::find_if(plan.cases.begin(), plan.cases.end(), [&](const auto& c) { return one.same_video(c); }) -
        plan.cases.begin();
    results.push_back(result);
  }
  for (size_t p = 0; p < plan.prompts.size(); ++p) {
    std::vector<OwnedStream> streams;
    for (size_t i = 0; i < results.size(); ++i) {
      streams.push_back(results[i].refused.empty() ? open(engine, plan.cases[i], plan.prompts[p],
                                                          plan.seed + p, plan.size, results[i])
                                                   : nullptr);
      if (!streams.back() && results[i].reference == i) throw std::runtime_error(results[i].refused);
      if (streams.back()) results[i].prompts.emplace_back();
    }
    for (int c = 0; c < plan.chunks; ++c) {
      std::vector<ShownFrames> reference(results.size());
      for (size_t i = 0; i < results.size(); ++i) {
        if (!streams[i]) continue;
        Made made = make_chunk(streams[i].get());
        if (results[i].reference == i) {
          reference[i] = std::move(made.frames);
        } else {
          const ShownFrames& wanted = reference[results[i].reference];
          made.measure.mse = mean_squared_error(made.frames, wanted);
          made.measure.ssim = ssim(made.frames, wanted);
          made.measure.flicker = flicker(made.frames, wanted);
        }
        results[i].prompts[p].push_back(std::move(made.measure));
      }
      progress((static_cast<double>(p) + (c + 1.0) / plan.chunks) / static_cast<double>(plan.prompts.size()));
    }
  }
  return results;
}

BenchSummary summarise(const BenchResult& result, const BenchResult& reference,
                       double chunk_playing_seconds) {
  BenchSummary s;
  std::vector<double> seconds;
  double decibels = 0, mse = 0, worst = 0, total = 0, reference_total = 0;
  std::vector<double> by_index;
  s.ssim = 0;
  for (size_t p = 0; p < result.prompts.size(); ++p)
    for (size_t c = 0; c < result.prompts[p].size(); ++c) {
      const ChunkMeasure& m = result.prompts[p][c];
      seconds.push_back(m.seconds);
      total += m.seconds;
      reference_total += reference.prompts[p][c].seconds;
      s.deadline += m.seconds <= chunk_playing_seconds;
      decibels += std::min(psnr(m.mse), invisible_psnr);
      mse += m.mse;
      worst = std::max(worst, m.mse);
      s.ssim += m.ssim;
      s.flicker += m.flicker;
      s.flops += m.flops;
      s.kv_bytes = std::max(s.kv_bytes, m.kv_bytes);
      const auto computed = static_cast<uint64_t>(std::accumulate(m.decisions.begin(), m.decisions.end(), 0));
      s.computed += computed;
      s.reused += m.decisions.size() - computed;
      if (by_index.size() <= c) by_index.push_back(0);
      by_index[c] += m.mse / static_cast<double>(result.prompts.size());
      if (c == 0) s.first_chunk += m.seconds / static_cast<double>(result.prompts.size());
    }
  const double n = std::max<double>(1, static_cast<double>(seconds.size()));
  s.speedup = total > 0 ? reference_total / total : 1;
  s.realtime = total > 0 ? n * chunk_playing_seconds / total : 0;
  s.deadline /= n;
  s.ssim /= n;
  s.flicker /= n;
  s.flops /= n;
  s.psnr = decibels / n;
  s.pooled_psnr = psnr(mse / n);
  s.worst_psnr = psnr(worst);
  s.p50 = percentile(seconds, 0.5);
  s.p95 = percentile(seconds, 0.95);
  s.p99 = percentile(seconds, 0.99);
  for (const double error : by_index) s.drift.push_back(psnr(error));
  return s;
}

}  // namespace flowcache::cli
