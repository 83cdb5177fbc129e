// SPDX-License-Identifier: LGPL-2.1-or-later
// A network around another one, for tests that watch the calls.
#pragma once

#include <memory>
#include <utility>

#include "networks/transformer.h"
#include "stream/loaded_model.h"

namespace flowcache::test {

// Passes all calls on.
class WrappedTransformer : public Transformer {
 public:
  explicit WrappedTransformer(std::unique_ptr<Transformer> inner) : inner_(std::move(inner)) {}
  const TransformerShape& shape() const override { return inner_->shape(); }
  std::shared_ptr<const Condition> condition(const at::Tensor& features) const override {
    return inner_->condition(features);
  }
  Embedded embed(const at::Tensor& latent, std::span<const double> timesteps, int64_t first) const override {
    return inner_->embed(latent, timesteps, first);
  }
  at::Tensor blocks(const Embedded& embedded, at::Tensor tokens, const Condition& condition, KvView& kv,
                    int first, int last) const override {
    return inner_->blocks(embedded, std::move(tokens), condition, kv, first, last);
  }
  at::Tensor head(const Embedded& embedded, const at::Tensor& tokens) const override {
    return inner_->head(embedded, tokens);
  }

 private:
  std::unique_ptr<Transformer> inner_;
};

// Puts a wrapper around the model's network. The model owns it.
template <typename Wrapper>
Wrapper* wrap_transformer(LoadedModel& model) {
  auto wrapper = std::make_unique<Wrapper>(std::move(model.transformer));
  Wrapper* const raw = wrapper.get();
  model.transformer = std::move(wrapper);
  return raw;
}

}  // namespace flowcache::test
