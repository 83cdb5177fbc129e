// SPDX-License-Identifier: LGPL-2.1-or-later
// ReuseKind::token_residual: what all blocks changed. Embedding and head still run on a reused step
// (TeaCache, arXiv 2411.19108; FlowCache on SkyReels-V2).
#include "stream/residual/tokens.h"

namespace flowcache {

void TokenDifference::capture_tokens(const StepRunner& runner, Step& step, size_t branch,
                                     const at::Tensor& tokens) {
  keep(runner, step, branch, tokens - from(runner, step, branch));
}

void TokenDifference::keep(const StepRunner& runner, Step& step, size_t branch,
                           const at::Tensor& difference) const {
  StreamParts& parts = runner.parts();
  if (parts.policy->across_chunks())
    parts.across[step.index][branch].keep(difference, 1, parts.lane.get());
  else
    step.chunk->residuals[branch].keep(difference, parts.policy->residuals_kept(), parts.lane.get());
}

at::Tensor TokenDifference::kept(const StepRunner& runner, Step& step, size_t branch) const {
  StreamParts& parts = runner.parts();
  if (parts.policy->across_chunks()) return parts.across[step.index][branch].combined({1.0});
  return step.chunk->residuals[branch].combined(parts.policy->prediction(step.question.info));
}

void TokenDifference::apply(const StepRunner& runner, Step& step) {
  const StreamParts& parts = runner.parts();
  const Transformer& network = *step.chunk->network;
  runner.embed(step);  // if the policy looks at no tokens, they are not embedded yet
  const int layers = network.shape().layers;
  PerBranch<at::Tensor> velocity;
  for (size_t branch = 0; branch < parts.guidance.branches(); ++branch) {
    if (!parts.guidance.contributes(branch)) continue;
    at::Tensor tokens = runner.begin_tokens(step, branch) + kept(runner, step, branch);
    if (last_blocks() > 0) tokens = runner.run_blocks(step, branch, tokens, layers - last_blocks(), layers);
    velocity[branch] = network.head(step.embedded, tokens);
  }
  runner.integrate(step, parts.guidance.mixed(velocity));
}

namespace {

class TokenResidual final : public TokenDifference {
  const at::Tensor& from(const StepRunner&, const Step& step, size_t) const override {
    return step.embedded.tokens;
  }
};

}  // namespace

std::unique_ptr<Residual> token_residual() {
  return std::make_unique<TokenResidual>();
}

}  // namespace flowcache
