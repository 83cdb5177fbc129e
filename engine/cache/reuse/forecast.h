// SPDX-License-Identifier: LGPL-2.1-or-later
// This project's own policy. Denoising a chunk solves an ordinary differential equation, so the policy uses
// the step control of such solvers. Each computed step shows the error of a linear extrapolation of the
// velocities computed before it. This error grows with the product of the distances to the two computed steps
// that it is extrapolated from. So the error of the next steps can be predicted. They are reused while the
// error that they cause in the latent stays below ε. A reused step applies the extrapolated velocity, and the
// next computed step corrects the latent (predictor.h). This is a predictor-corrector of second order without
// additional runs of the network.
#pragma once

#include <map>

#include "cache/registry.h"
#include "cache/reuse/accumulator.h"
#include "cache/reuse/distance.h"

namespace flowcache {

struct ForecastConfig {
  int warmup = 3;           // first steps computed while the curvature is unknown; two predict the third
  bool learn_start = true;  // later chunks start with the curvature that an earlier chunk measured at its
                            // start; then only their first step is always computed
  int most_skipped = 0;     // largest number of reused steps in a row; 0: no limit
};

class Forecast final : public PerChunkPolicy {
 public:
  explicit Forecast(ForecastConfig config) : config_(config) {}

  Tap taps() const override { return Tap::velocity; }
  ReuseKind kind() const override { return ReuseKind::velocity; }
  void computed(const ChunkStep& step, const at::Tensor& velocity) override;
  void residuals_dropped(int64_t chunk) override { chunks_.erase(chunk); }
  void end_chunk(int64_t chunk) override { chunks_.erase(chunk); }
  void reset() override {
    chunks_.clear();
    start_curvature_ = unknown;
  }
  uint64_t state_bytes() const override;

 private:
  static constexpr double unknown = -1;
  struct State {
    Accumulator accumulator;
    double newest = 0, older = 0;  // noise levels of the last two computations
    KeptFeature velocity, older_velocity;
    int known = 0;               // number of computed steps so far
    double curvature = unknown;  // relative error of the extrapolation per squared noise level
    int skipped = 0;
  };
  Decision decide_one(const ChunkStep& step, double threshold) override;
  double predicted_error(const State& state, const StepInfo& info) const;

  ForecastConfig config_;
  std::map<int64_t, State> chunks_;
  double start_curvature_ = unknown;  // the first curvature that the latest chunk measured
};

}  // namespace flowcache
