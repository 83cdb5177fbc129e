// SPDX-License-Identifier: LGPL-2.1-or-later
// ReuseKind::tail_residual: what the blocks between the first and the last ones changed; the first and last
// blocks always run (first-block cache, DBCache). It is also kept beside another kind, for policies that
// choose between both (MixCache).
#include "stream/residual/tokens.h"

namespace flowcache {
namespace {

class TailResidual : public TokenDifference {
 public:
  explicit TailResidual(int last_blocks) : last_blocks_(last_blocks) {}
  int last_blocks() const override { return last_blocks_; }

 private:
  const at::Tensor& from(const StepRunner& runner, const Step& step, size_t branch) const override {
    return runner.begin_tokens(step, branch);
  }
  int last_blocks_;
};

// Keeps only the newest value, in LiveChunk::tail, in the device's memory.
class SecondResidual final : public TailResidual {
 public:
  using TailResidual::TailResidual;

 private:
  void keep(const StepRunner&, Step& step, size_t branch, const at::Tensor& difference) const override {
    step.chunk->tail[branch] = difference;
  }
  at::Tensor kept(const StepRunner&, Step& step, size_t branch) const override {
    return step.chunk->tail[branch];
  }
};

}  // namespace

std::unique_ptr<Residual> tail_residual(int last_blocks) {
  return std::make_unique<TailResidual>(last_blocks);
}

std::unique_ptr<Residual> make_tail(const ReusePolicy& policy) {
  return policy.keeps_tail() ? std::make_unique<SecondResidual>(policy.last_blocks()) : nullptr;
}

}  // namespace flowcache
