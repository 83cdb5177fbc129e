// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/calibrate.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"

namespace flowcache {

namespace {

// Records the ratios of every chunk that a stream computes, [chunk][step].
class Recorder {
 public:
  void operator()(const ChunkStep& step, const at::Tensor& velocity) {
    Row& row = rows_[step.info.chunk];
    const at::Tensor magnitude = velocity.norm(2, 0);
    const double ratio = row.previous.defined() ? (magnitude / row.previous).mean().item<double>() : 1;
    row.previous = magnitude;
    row.ratios.push_back(std::isfinite(ratio) ? ratio : 1);
  }
  const std::vector<double>& of(int64_t chunk) const { return rows_.at(chunk).ratios; }

 private:
  struct Row {
    at::Tensor previous;
    std::vector<double> ratios;
  };
  std::map<int64_t, Row> rows_;
};

std::vector<double> mean(const std::vector<std::vector<double>>& rows) {
  std::vector<double> sum(rows.front().size(), 0);
  for (const auto& row : rows)
    for (size_t s = 0; s < sum.size(); ++s) sum[s] += row[s] / static_cast<double>(rows.size());
  return sum;
}

// Five decimals, as the published curves have.
nlohmann::json rounded(const std::vector<double>& values) {
  nlohmann::json out = nlohmann::json::array();
  for (const double value : values) out.push_back(std::round(value * 1e5) / 1e5);
  return out;
}

}  // namespace

std::string Calibration::json() const {
  const nlohmann::json out = {{"magcache", rounded(curve)},
                              {"first_chunk", rounded(first_chunk)},
                              {"spread", rounded(spread)},
                              {"chunks", chunks}};
  return out.dump() + "\n";
}

Calibration calibrate(const std::shared_ptr<const LoadedModel>& model, const StreamConfig& config,
                      const std::vector<std::string>& prompts, int chunks,
                      const std::function<bool(double)>& progress) {
  if (prompts.empty() || chunks < 2)
    throw Error(
        FC_ERROR_ARGUMENT,
        "calibration with " + std::to_string(prompts.size()) + " prompts of " + std::to_string(chunks) +
            " chunks: give at least one prompt and two chunks, because the first chunk has no history");
  std::vector<std::vector<double>> first, later;
  for (size_t p = 0; p < prompts.size(); ++p) {
    StreamConfig own = config;
    own.cache = "none";
    own.prompt = prompts[p];
    own.seed = config.seed + p;
    Stream stream(model, own);
    Recorder recorder;
    stream.watch_computed(
        [&](const ChunkStep& step, const at::Tensor& velocity) { recorder(step, velocity); });
    for (int c = 0; c < chunks; ++c) {
      stream.next();
      (c == 0 ? first : later).push_back(recorder.of(c));
      const double done =
          static_cast<double>(p * chunks + c + 1) / static_cast<double>(prompts.size() * chunks);
      if (!progress(done)) throw Error(FC_CANCELLED, "calibration was cancelled");
    }
  }
  Calibration result{.curve = mean(later), .first_chunk = mean(first)};
  result.chunks = static_cast<int>(first.size() + later.size());
  result.spread.assign(result.curve.size(), 0);
  for (const auto& row : later)
    for (size_t s = 0; s < row.size(); ++s)
      result.spread[s] = std::max(result.spread[s], std::abs(row[s] - result.curve[s]));
  return result;
}

}  // namespace flowcache
