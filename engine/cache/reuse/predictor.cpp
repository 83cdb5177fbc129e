// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/reuse/predictor.h"

#include <algorithm>
#include <deque>

#include "base/error.h"

namespace flowcache {

std::vector<double> taylor_weights(std::span<const double> points, double at, int order) {
  const size_t count = points.size();
  const size_t highest = std::min<size_t>(order, count - 1);
  // difference[j]: factors of the values, whose sum is the derivative of the current order at point j.
  std::vector<std::vector<double>> difference(count, std::vector<double>(count, 0));
  for (size_t j = 0; j < count; ++j) difference[j][j] = 1;
  std::vector<double> weights = difference[0];
  double power = 1;
  for (size_t i = 1; i <= highest; ++i) {
    for (size_t j = 0; j + i < count; ++j)
      for (size_t k = 0; k < count; ++k)
        difference[j][k] = (difference[j][k] - difference[j + 1][k]) / (points[j] - points[j + 1]);
    power *= (at - points[0]) / static_cast<double>(i);
    for (size_t k = 0; k < count; ++k) weights[k] += power * difference[0][k];
  }
  return weights;
}

namespace {

class Predicted final : public ReusePolicy {
 public:
  Predicted(std::unique_ptr<ReusePolicy> policy, const PredictorConfig& config)
      : policy_(std::move(policy)),
        config_(config),
        kept_(std::max(config.order + 1, config.correct ? 2 : 1)) {}

  Tap taps() const override { return policy_->taps(); }
  ReuseKind kind() const override { return policy_->kind(); }
  int first_blocks() const override { return policy_->first_blocks(); }
  int last_blocks() const override { return policy_->last_blocks(); }
  bool recompute_on_context_change() const override { return policy_->recompute_on_context_change(); }
  void context_changed(int64_t chunk) override { policy_->context_changed(chunk); }
  uint64_t state_bytes() const override { return policy_->state_bytes(); }

  std::vector<Decision> decide(std::span<const ChunkStep> tick, double threshold) override {
    std::vector<Decision> decisions = policy_->decide(tick, threshold);
    for (size_t i = 0; i < tick.size(); ++i)
      if (decisions[i].action == Action::reuse) chunks_[tick[i].info.chunk].reused.push_back(tick[i].info);
    return decisions;
  }

  void computed(const ChunkStep& step, const at::Tensor& velocity) override {
    policy_->computed(step, velocity);
    State& state = chunks_[step.info.chunk];
    state.bridged = std::move(state.reused);
    state.reused.clear();
    state.points.push_front(coordinate(step.info));
    // One more point than residuals, so that correction() can repeat the predictions before this step.
    if (state.points.size() > static_cast<size_t>(kept_) + 1) state.points.pop_back();
  }

  void residuals_dropped(int64_t chunk) override {
    policy_->residuals_dropped(chunk);
    chunks_.erase(chunk);
  }
  void end_chunk(int64_t chunk) override {
    policy_->end_chunk(chunk);
    chunks_.erase(chunk);
  }
  void reset() override {
    policy_->reset();
    chunks_.clear();
  }

  Range governed(int steps) const override { return policy_->governed(steps); }
  void allow(int computed) override { policy_->allow(computed); }
  void limit(const StepInfo& done, int more) override { policy_->limit(done, more); }

  bool corrects() const override { return config_.correct; }
  // The correction needs the newest residual, and all those that the predictions used.
  int residuals_kept() const override { return kept_ + (config_.correct ? 1 : 0); }

  std::vector<double> prediction(const StepInfo& info) const override {
    const auto found = chunks_.find(info.chunk);
    if (found == chunks_.end() || found->second.points.empty()) return {1.0};
    return predict(found->second.points, 0, info);
  }

  std::vector<double> correction(const StepInfo& info) const override {
    const auto found = chunks_.find(info.chunk);
    if (!config_.correct || found == chunks_.end() || found->second.bridged.empty()) return {};
    const State& state = found->second;
    std::vector<double> total(state.points.size(), 0);
    const double newest = state.points[0], before = state.points[1];
    for (const StepInfo& step : state.bridged) {
      const double length = step.sigma_next - step.sigma;
      const double along = (coordinate(step) - before) / (newest - before);
      total[0] += length * along;
      total[1] += length * (1 - along);
      const std::vector<double> used = predict(state.points, 1, step);
      for (size_t i = 0; i < used.size(); ++i) total[i + 1] -= length * used[i];
    }
    total.resize(std::min(total.size(), static_cast<size_t>(residuals_kept())));
    return total;
  }

 private:
  struct State {
    std::deque<double> points;      // coordinates of the computed steps, newest first
    std::vector<StepInfo> reused;   // steps reused since the newest point
    std::vector<StepInfo> bridged;  // steps reused between the last two points
  };

  double coordinate(const StepInfo& info) const {
    return config_.along == PredictorConfig::Along::sigma ? info.sigma : info.step;
  }

  std::vector<double> predict(const std::deque<double>& all, size_t first, const StepInfo& info) const {
    const size_t count = std::min<size_t>(all.size() - first, config_.order + 1);
    const std::vector<double> points(all.begin() + first, all.begin() + first + count);
    std::vector<double> weights = taylor_weights(points, coordinate(info), config_.order);
    for (size_t i = 0; i < weights.size(); ++i) {
      const double held = i == 0 ? 1 : 0;
      weights[i] = held + config_.gain * (weights[i] - held);
    }
    return weights;
  }

  std::unique_ptr<ReusePolicy> policy_;
  PredictorConfig config_;
  int kept_;
  std::map<int64_t, State> chunks_;
};

}  // namespace

std::unique_ptr<ReusePolicy> predicted(std::unique_ptr<ReusePolicy> policy, const PredictorConfig& config) {
  if (config.order == 0 && !config.correct) return policy;
  if (config.correct && policy->kind() != ReuseKind::velocity)
    throw Error(FC_ERROR_ARGUMENT,
                "correct=1 repairs velocities only: choose residual=velocity or correct=0");
  return std::make_unique<Predicted>(std::move(policy), config);
}

std::unique_ptr<ReusePolicy> predicted(std::unique_ptr<ReusePolicy> policy, const Options& options) {
  const auto along =
      options.word("along") == "step" ? PredictorConfig::Along::step : PredictorConfig::Along::sigma;
  return predicted(std::move(policy), PredictorConfig{.order = options.integer("order"),
                                                      .along = along,
                                                      .gain = options.number("gain"),
                                                      .correct = options.flag("correct")});
}

std::vector<OptionSpec> with_prediction(std::vector<OptionSpec> options, int order, int correct) {
  options.push_back(
      count_option("order", "reused steps: 0 repeat, 1 extrapolate linearly, 2 quadratically", order, 0, 3));
  options.push_back({.name = "along",
                     .help = "extrapolate over the noise level (sigma) or the step number (step)",
                     .words = {"sigma", "step"}});
  options.push_back({.name = "gain", .help = "factor of the extrapolation", .value = 1, .min = 0, .max = 2});
  options.push_back(switch_option(
      "correct", "1: a computed step repairs the error of the predictions before it", correct != 0));
  return options;
}

}  // namespace flowcache
