// SPDX-License-Identifier: LGPL-2.1-or-later
// What a chunk's computed steps left for its reused ones.
#pragma once

#include <deque>
#include <vector>

#include "networks/attention_memory.h"

namespace flowcache {

// The last computed values of one quantity.
class Residuals {
 public:
  // `most`: as many as are kept afterwards.
  void keep(const at::Tensor& computed, int most) {
    newest_first_.push_front(computed);
    while (static_cast<int>(newest_first_.size()) > most) newest_first_.pop_back();
  }
  // The sum of the kept values times `factors`, newest first; the newest itself for {1}, so that holding
  // changes no bit.
  at::Tensor combined(const std::vector<double>& factors) const {
    if (factors.size() == 1 && factors[0] == 1) return newest_first_.at(0);
    at::Tensor sum = newest_first_.at(0) * factors.at(0);
    for (size_t i = 1; i < factors.size(); ++i) sum = at::add(sum, newest_first_.at(i), factors[i]);
    return sum;
  }
  size_t size() const { return newest_first_.size(); }
  uint64_t bytes() const {
    uint64_t bytes = 0;
    for (const at::Tensor& one : newest_first_) bytes += one.nbytes();
    return bytes;
  }

 private:
  std::deque<at::Tensor> newest_first_;
};

// The attention outputs of a chunk's branch as one forward pass sees them.
class AttentionPass final : public AttentionMemory {
 public:
  // layers: grows as needed. factors: of a reused step, from the policy's prediction(); empty: a computed
  // step, which recalls nothing. kept: how many outputs of a layer stay.
  AttentionPass(std::vector<Residuals>& layers, std::vector<double> factors, int kept)
      : layers_(layers), factors_(std::move(factors)), kept_(kept) {}

  at::Tensor recall(int layer) override {
    const auto index = static_cast<size_t>(layer);
    if (factors_.empty() || index >= layers_.size() || layers_[index].size() == 0) return {};
    ++recalled_;
    const bool enough = layers_[index].size() >= factors_.size();
    return layers_[index].combined(enough ? factors_ : std::vector<double>{1.0});
  }
  void keep(int layer, const at::Tensor& output) override {
    const auto index = static_cast<size_t>(layer);
    if (index >= layers_.size()) layers_.resize(index + 1);
    layers_[index].keep(output, kept_);
    ++computed_;
  }
  // Of the pass's attentions, the share that was not computed.
  double share_recalled() const {
    return recalled_ == 0 ? 0 : static_cast<double>(recalled_) / (recalled_ + computed_);
  }

 private:
  std::vector<Residuals>& layers_;
  std::vector<double> factors_;
  int kept_, recalled_ = 0, computed_ = 0;
};

}  // namespace flowcache
