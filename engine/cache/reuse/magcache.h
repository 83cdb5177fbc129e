// SPDX-License-Identifier: LGPL-2.1-or-later
// MagCache (arXiv 2506.09045). The residual's size changes from step to step by ratios that are known
// beforehand. While the product of the ratios since the last computed step is close to 1, the old residual is
// applied again.
#pragma once

#include <vector>

#include "cache/registry.h"
#include "cache/reuse/distance.h"

namespace flowcache {

struct MagCacheConfig {
  // Ratio of the residual's size at each step to its size at the step before, for any number of steps. Empty:
  // the curve is measured on the first chunk whose steps are all computed, which is the stream's first chunk.
  std::vector<double> curve;
  int most_skipped = 2;    // K: largest number of reused steps in a row
  double retention = 0.2;  // R: share of the steps, at the start of a chunk, that are always computed
  ReuseKind residual = ReuseKind::velocity;
};

class MagCache final : public PerChunkPolicy {
 public:
  explicit MagCache(MagCacheConfig config) : config_(std::move(config)), curve_(config_.curve) {}

  // The threshold is the paper's E, a limit for the sum of the errors.
  Tap taps() const override { return config_.curve.empty() ? Tap::velocity : Tap::none; }
  ReuseKind kind() const override { return config_.residual; }
  void computed(const ChunkStep& step, const at::Tensor& velocity) override;
  void end_chunk(int64_t chunk) override;
  void reset() override;
  uint64_t state_bytes() const override;

  // The curve, given or measured; empty until it has been measured.
  const std::vector<double>& curve() const { return curve_; }

 private:
  struct State {
    double product = 1, error = 0;
    int skipped = 0;
    std::vector<double> measured;
    KeptFeature velocity;
  };
  Decision decide_one(const ChunkStep& step, double threshold) override;

  MagCacheConfig config_;
  std::vector<double> curve_;
  std::map<int64_t, State> chunks_;
};

// The curve for `steps` steps: for each one the nearest entry of `curve`.
std::vector<double> resample_curve(const std::vector<double>& curve, int steps);
// The names of the published curves, and the curve of one name; throws FC_ERROR_NOT_FOUND if there is none.
std::vector<std::string> curve_names();
const std::vector<double>& curve(const std::string& name);
// Reads a curve from a JSON file: an array of at least 2 positive numbers, or an object with such an array
// under "magcache". Throws FC_ERROR_NOT_FOUND if the file cannot be opened, FC_ERROR_ARGUMENT if it holds
// anything else.
std::vector<double> read_curve(const std::string& file);

}  // namespace flowcache
