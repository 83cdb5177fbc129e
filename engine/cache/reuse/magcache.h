// SPDX-License-Identifier: LGPL-2.1-or-later
// MagCache (arXiv 2506.09045): the size of the residual shrinks along denoising by a known curve; as long as
// the product of its steps since the last computation is close to one, the old residual still serves.
#pragma once

#include <vector>

#include "cache/registry.h"
#include "cache/reuse/distance.h"

namespace flowcache {

struct MagCacheConfig {
  std::vector<double>
      curve;  // magnitude ratio of each step to the one before, for any number of steps; empty: measured
              // on the first chunk that is computed from end to end, which is the stream's first
  int most_skipped = 2;    // K: consecutive reused steps at most
  double retention = 0.2;  // R: share of the steps computed at first
  ReuseKind residual = ReuseKind::velocity;
};

class MagCache final : public PerChunkPolicy {
 public:
  explicit MagCache(MagCacheConfig config) : config_(std::move(config)), curve_(config_.curve) {}

  // `threshold` is E, the error that may add up.
  Tap taps() const override { return config_.curve.empty() ? Tap::velocity : Tap::none; }
  ReuseKind kind() const override { return config_.residual; }
  void computed(const ChunkStep& step, const at::Tensor& velocity) override;
  void end_chunk(int64_t chunk) override;
  void reset() override;
  uint64_t state_bytes() const override;

  // Given or measured; empty while it is being measured.
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

// Nearest entries of `curve` for `steps` steps.
std::vector<double> resample_curve(const std::vector<double>& curve, int steps);
// Names of the published curves, and one of them.
std::vector<std::string> curve_names();
const std::vector<double>& curve(const std::string& name);
// A curve from a file: a JSON array of positive numbers, or an object with one under "magcache". Throws
// FC_ERROR_NOT_FOUND, FC_ERROR_ARGUMENT.
std::vector<double> read_curve(const std::string& file);

}  // namespace flowcache
