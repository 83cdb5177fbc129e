// SPDX-License-Identifier: LGPL-2.1-or-later
// A TokenSplit over an Exchange, and the tokens' way from rank 0 to the others and back.
#pragma once

#include "networks/token_split.h"
#include "parallel/exchange.h"
#include "parallel/plan.h"

namespace flowcache {

class TokenExchange final : public TokenSplit {
 public:
  // tokens: of the whole chunk. `exchange` and `shape` outlive this.
  TokenExchange(Exchange& exchange, const TransformerShape& shape, AttentionSplit split, int64_t tokens)
      : exchange_(exchange), shape_(shape), split_(split), tokens_(tokens) {}

  Rows rows() const override { return rows_of(exchange_.rank()); }
  Attention begin_attention(const at::Tensor& q, const KeyValue& own, KvView& view, int layer) override;
  at::Tensor end_attention(const at::Tensor& mixed) override;

  // Rank 0 has the chunk's tokens [passes * tokens, dim], and each rank gets its rows [passes * rows, dim]. On the others
  // `all` is an empty tensor of the same type and device.
  at::Tensor scatter(const at::Tensor& all, int64_t passes);
  // The reverse: all tokens at rank 0, nothing on the others.
  at::Tensor gather(const at::Tensor& own, int64_t passes);

 private:
  Rows rows_of(int rank) const {
    const Share share = share_of(tokens_, exchange_.ranks(), rank);
    return {share.first, share.count};
  }

  Exchange& exchange_;
  const TransformerShape& shape_;
  AttentionSplit split_;
  int64_t tokens_;
};

}  // namespace flowcache
