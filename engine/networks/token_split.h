// SPDX-License-Identifier: LGPL-2.1-or-later
// A chunk's tokens where several processes share them: each has a range of rows. In self-attention it has a range of heads
// for all rows (DeepSpeed-Ulysses, arXiv 2309.14509), or its rows for all heads.
#pragma once

#include <ATen/ATen.h>

#include "networks/kv_view.h"

namespace flowcache {

// Calls happen at the same place of the same pass in every process; each waits for the others.
class TokenSplit {
 public:
  virtual ~TokenSplit() = default;

  // This process's rows of the chunk's tokens.
  struct Rows {
    int64_t first = 0, count = 0;
  };
  virtual Rows rows() const = 0;

  struct Attention {
    at::Tensor
        q;  // the queries whose attention this process computes, [its heads, its rows or all, head_dim]
    at::Tensor queries;  // for KvView::append(): of its heads and all rows, if the view looks at them
    KeyValue own;        // [its kv_heads, all rows, head_dim], in the view's slots if they are of that size
  };
  // q [heads, rows, head_dim] and own [kv_heads, rows, head_dim]: of all heads, and this process's rows.
  virtual Attention begin_attention(const at::Tensor& q, const KeyValue& own, KvView& view, int layer) = 0;
  // What attention makes of Attention::q, [its rows, its heads * head_dim] -> [rows, heads * head_dim].
  virtual at::Tensor end_attention(const at::Tensor& mixed) = 0;
};

}  // namespace flowcache
