// SPDX-License-Identifier: LGPL-2.1-or-later
// The residuals that a chunk's computed steps leave for its reused steps.
#pragma once

#include <deque>
#include <utility>
#include <vector>

#include "networks/attention_memory.h"
#include "stream/offload.h"

namespace flowcache {

// One computed value. It stays in the device's memory; with a lane it is in host memory until it is fetched.
class Kept {
 public:
  Kept(const at::Tensor& computed, CopyLane* lane)
      : value_(lane ? lane->away(computed) : computed), lane_(lane) {}
  // Begins to copy the value back, unless it is there or on its way.
  void fetch() {
    if (lane_ && !coming_.tensor.defined()) coming_ = lane_->back(value_);
  }
  // Returns the value. With a lane, the copy in host memory stays, and the next take() fetches it again.
  at::Tensor take() {
    if (!lane_) return value_;
    fetch();
    coming_.ready();
    return std::exchange(coming_, {}).tensor;
  }
  uint64_t resident_bytes() const { return lane_ && !coming_.tensor.defined() ? 0 : value_.nbytes(); }

 private:
  at::Tensor value_;
  CopyLane* lane_;
  Arrival coming_;
};

// The last computed values of one quantity.
class Residuals {
 public:
  // Adds a value and keeps at most `most`. lane: null, or moves the values to host memory; outlives this.
  void keep(const at::Tensor& computed, int most, CopyLane* lane = nullptr) {
    newest_first_.emplace_front(computed, lane);
    while (static_cast<int>(newest_first_.size()) > most) newest_first_.pop_back();
  }
  // Drops all but the newest.
  void keep_newest(size_t most) {
    while (newest_first_.size() > most) newest_first_.pop_back();
  }
  // combined() will be called soon: begins to copy values back that are in host memory.
  void fetch() {
    for (Kept& one : newest_first_) one.fetch();
  }
  // The sum of the kept values times `factors`, newest first. For {1} it is the newest value itself, bit by
  // bit.
  at::Tensor combined(const std::vector<double>& factors) {
    if (factors.size() == 1 && factors[0] == 1) return newest_first_.at(0).take();
    at::Tensor sum = newest_first_.at(0).take() * factors.at(0);
    for (size_t i = 1; i < factors.size(); ++i) sum = at::add(sum, newest_first_.at(i).take(), factors[i]);
    return sum;
  }
  size_t size() const { return newest_first_.size(); }
  // Bytes in the device's memory.
  uint64_t bytes() const {
    uint64_t bytes = 0;
    for (const Kept& one : newest_first_) bytes += one.resident_bytes();
    return bytes;
  }

 private:
  std::deque<Kept> newest_first_;
};

// The attention outputs of one branch of a chunk, for one forward pass.
class AttentionPass final : public AttentionMemory {
 public:
  // layers: grows as needed. factors: those of ReusePolicy::prediction() on a reused step; empty on a
  // computed step, which recalls nothing. kept: how many outputs of each layer are kept. lane: as in
  // Residuals::keep(); the outputs of a layer are fetched while the layer before it runs.
  AttentionPass(std::vector<Residuals>& layers, std::vector<double> factors, int kept,
                CopyLane* lane = nullptr)
      : layers_(layers), factors_(std::move(factors)), kept_(kept), lane_(lane) {}

  AttentionPlan plan() const override {
    AttentionPlan plan{factors_, kept_, {}};
    for (const Residuals& one : layers_) plan.sizes.push_back(static_cast<int64_t>(one.size()));
    return plan;
  }
  at::Tensor recall(int layer) override {
    const auto index = static_cast<size_t>(layer);
    if (factors_.empty() || index >= layers_.size() || layers_[index].size() == 0) return {};
    ++recalled_;
    layers_[index].fetch();
    if (index + 1 < layers_.size()) layers_[index + 1].fetch();
    const bool enough = layers_[index].size() >= factors_.size();
    return layers_[index].combined(enough ? factors_ : std::vector<double>{1.0});
  }
  void keep(int layer, const at::Tensor& output) override {
    const auto index = static_cast<size_t>(layer);
    if (index >= layers_.size()) layers_.resize(index + 1);
    layers_[index].keep(output, kept_, lane_);
    ++computed_;
  }
  // The share of this pass's attentions that were recalled and not computed; 0..1.
  double share_recalled() const {
    return recalled_ == 0 ? 0 : static_cast<double>(recalled_) / (recalled_ + computed_);
  }

 private:
  std::vector<Residuals>& layers_;
  std::vector<double> factors_;
  int kept_, recalled_ = 0, computed_ = 0;
  CopyLane* lane_;
};

}  // namespace flowcache
