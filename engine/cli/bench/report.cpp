// SPDX-License-Identifier: LGPL-2.1-or-later
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/bench/bench.h"
#include "cli/bench/metrics.h"
#include "cli/bench/page.h"
#include "cli/commands.h"

namespace flowcache::cli {

namespace {

double playing_seconds(const fc_model_info& model) {
  return static_cast<double>(model.frames_per_chunk) * model.fps_d / model.fps_n;
}

nlohmann::json summary_json(const BenchSummary& s) {
  return {{"speedup", s.speedup},
          {"video_realtime_factor", s.realtime},
          {"deadline_attainment", s.deadline},
          {"chunk_seconds", {{"p50", s.p50}, {"p95", s.p95}, {"p99", s.p99}}},
          {"time_to_first_chunk", s.first_chunk},
          {"steps_computed", s.computed},
          {"steps_reused", s.reused},
          {"psnr", s.psnr},
          {"pooled_psnr", s.pooled_psnr},
          {"worst_chunk_psnr", s.worst_psnr},
          {"ssim", s.ssim},
          {"flicker", s.flicker},
          {"kv_bytes", s.kv_bytes},
          {"flops_per_chunk", s.flops},
          {"drift_psnr", s.drift}};
}

// How many dB the last chunk is worse than the first.
double drift_of(const BenchSummary& s) {
  if (s.drift.empty()) return 0;
  return std::min(s.drift.back(), invisible_psnr) - std::min(s.drift.front(), invisible_psnr);
}

}  // namespace

std::string bench_table(const std::vector<BenchResult>& results, const fc_model_info& model) {
  size_t width = 20;
  for (const auto& r : results) width = std::max(width, r.what.name().size());
  char line[512];
  std::snprintf(line, sizeof line, "%-*s %7s %6s %7s %8s %8s %8s %9s %13s %7s %7s %7s %7s %6s %7s %6s %9s\n",
                static_cast<int>(width), "case", "speedup", "x real", "in time", "p50 ms", "p95 ms", "p99 ms",
                "first ms", "computed", "GFLOP", "PSNR", "pooled", "worst", "SSIM", "flicker", "drift", "KV");
  std::string table = line;
  for (const auto& r : results) {
    if (!r.refused.empty()) {
      table += r.what.name() + ": not run: " + r.refused + "\n";
      continue;
    }
    const BenchSummary s = summarise(r, results[r.reference], playing_seconds(model));
    const bool reference = &r == &results[r.reference];
    char quality[64];
    if (reference)
      std::snprintf(quality, sizeof quality, "%7s %7s %7s %6s %7s %6s", "-", "-", "-", "-", "-", "-");
    else
      std::snprintf(quality, sizeof quality, "%7.2f %7.2f %7.2f %6.4f %7.3f %6.1f", s.psnr, s.pooled_psnr,
                    s.worst_psnr, s.ssim, s.flicker, drift_of(s));
    std::snprintf(
        line, sizeof line, "%-*s %6.2fx %6.2f %6.0f%% %8.1f %8.1f %8.1f %9.1f %6llu/%-6llu %7.2f %s %9s\n",
        static_cast<int>(width), r.what.name().c_str(), s.speedup, s.realtime, 100 * s.deadline, 1e3 * s.p50,
        1e3 * s.p95, 1e3 * s.p99, 1e3 * s.first_chunk, static_cast<unsigned long long>(s.computed),
        static_cast<unsigned long long>(s.computed + s.reused), s.flops / 1e9, quality,
        megabytes(static_cast<double>(s.kv_bytes)).c_str());
    table += line;
  }
  return table;
}

std::string bench_json(const std::vector<BenchResult>& results, const BenchPlan& plan,
                       const fc_model_info& model, const fc_cpu_info& cpu) {
  nlohmann::json out;
  out["model"] = {{"name", model.name},
                  {"width", model.width},
                  {"height", model.height},
                  {"steps", model.steps},
                  {"frames_per_chunk", model.frames_per_chunk},
                  {"chunk_playing_seconds", playing_seconds(model)}};
  out["version"] = fc_version();
  out["cpu"] = {{"processor", cpu.processor},
                {"kernels", cpu.kernels},
                {"libtorch", cpu.libtorch},
                {"onednn", cpu.onednn}};
  out["prompts"] = plan.prompts;
  out["chunks"] = plan.chunks;
  out["seed"] = plan.seed;
  out["cases"] = nlohmann::json::array();
  for (const auto& r : results) {
    nlohmann::json one = {{"name", r.what.name()},
                          {"cache", r.what.cache},
                          {"kv_cache", r.what.kv_cache},
                          {"threshold", r.what.threshold},
                          {"lag", r.what.lag},
                          {"steps", r.what.steps},
                          {"reference", results[r.reference].what.name()}};
    if (!r.refused.empty()) {
      one["refused"] = r.refused;
    } else {
      one["summary"] = summary_json(summarise(r, results[r.reference], playing_seconds(model)));
      one["kv_budget"] = r.kv_budget;
      one["kv_allocated"] = r.kv_allocated;
      for (const auto& prompt : r.prompts) {
        nlohmann::json chunks = nlohmann::json::array();
        for (const auto& m : prompt)
          chunks.push_back(
              {{"seconds", m.seconds}, {"mse", m.mse}, {"kv_bytes", m.kv_bytes}, {"decisions", m.decisions}});
        one["runs"].push_back(chunks);
      }
    }
    out["cases"].push_back(one);
  }
  return out.dump(1);
}

std::string bench_html(const std::string& json) {
  std::string page = bench_page;
  const std::string mark = "/*DATA*/";
  // "</" in the JSON would end the script element.
  std::string safe;
  for (size_t i = 0; i < json.size(); ++i)
    safe += json.compare(i, 2, "</") == 0 ? (++i, "<\\/") : std::string(1, json[i]);
  return page.replace(page.find(mark), mark.size(), safe);
}

}  // namespace flowcache::cli
