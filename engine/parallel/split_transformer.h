// SPDX-License-Identifier: LGPL-2.1-or-later
// A network that runs on all ranks, as rank 0 sees it. Embedding and head run here alone; in blocks() every rank has its rows
// of the tokens. So everything that a stream looks at is here and whole, and each decision is made once.
#pragma once

#include <memory>

#include "networks/transformer.h"
#include "parallel/team.h"

namespace flowcache {

class SplitTransformer final : public Transformer {
 public:
  SplitTransformer(std::shared_ptr<Team> team, std::unique_ptr<Transformer> own)
      : team_(std::move(team)), own_(std::move(own)) {}

  const TransformerShape& shape() const override { return own_->shape(); }
  // The workers make theirs.
  std::shared_ptr<const Condition> condition(const at::Tensor& features) const override;
  Embedded embed(const at::Tensor& latent, std::span<const double> timesteps,
                 int64_t first_frame) const override;
  void slice_tokens(int64_t most) override { own_->slice_tokens(most); }
  // If a worker is gone or does not answer in time, throws RanksChanged, or, where streams end then, FC_ERROR_DEVICE, now and
  // from now on.
  at::Tensor blocks(const Embedded& embedded, at::Tensor tokens, const Condition& condition, KvView& kv,
                    int first, int last) const override;
  // Of a guidance branch that runs on rank 1 alone.
  std::unique_ptr<Begun> begin_blocks(const Embedded& embedded, const at::Tensor& tokens,
                                      const Condition& condition, KvView& kv, int first,
                                      int last) const override;
  at::Tensor head(const Embedded& embedded, const at::Tensor& tokens) const override {
    return own_->head(embedded, tokens);
  }
  int64_t prefix_context() const override { return own_->prefix_context(); }
  // Throws FC_ERROR_ARGUMENT: the workers read their own weights.
  std::unique_ptr<Transformer> with_weights(const WeightMap& weights,
                                            const std::set<std::string>& touched) const override;

 private:
  class Elsewhere;
  void order_blocks(const Embedded& embedded, const at::Tensor& tokens, const Condition& condition,
                    const KvName& name, int first, int last, bool whole) const;
  at::Tensor collect(const Embedded& embedded, const at::Tensor& tokens, int first, int last) const;

  std::shared_ptr<Team> team_;
  std::unique_ptr<Transformer> own_;
  // The store of blocks that rank 1 runs now, of the team's present generation; while the team is held.
  mutable int begun_ = -1;
};

}  // namespace flowcache
