// SPDX-License-Identifier: LGPL-2.1-or-later
// This project's own: a denoising chunk is an ordinary differential equation, so let the step control of such
// solvers decide what to compute. Each computation tells how wrong a linear extrapolation of the velocities
// before it was; that error grows with the product of the distances to the two computations it rests on, so
// the error of the next reused steps can be foretold, and they are reused while the displacement it causes
// stays below ε. What is applied is the extrapolation itself, and the next computation repairs it
// (predictor.h): a predictor-corrector of second order at the price of no network evaluation.
#pragma once

#include <map>

#include "cache/registry.h"
#include "cache/reuse/accumulator.h"
#include "cache/reuse/distance.h"

namespace flowcache {

struct ForecastConfig {
  int warmup = 3;  // steps computed at first by a chunk that knows no curvature: two foretell the third
  bool learn_start = true;  // later chunks begin with the curvature that a chunk before them found at its
                            // start, and are free from their second step on
  int most_skipped = 0;     // consecutive reused steps at most; 0: no limit
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
    int known = 0;               // computations so far
    double curvature = unknown;  // relative error of the extrapolation per squared noise level
    int skipped = 0;
  };
  Decision decide_one(const ChunkStep& step, double threshold) override;
  double foretold_error(const State& state, const StepInfo& info) const;

  ForecastConfig config_;
  std::map<int64_t, State> chunks_;
  double start_curvature_ = unknown;  // of the chunk that measured one last, at its start
};

}  // namespace flowcache
