// SPDX-License-Identifier: LGPL-2.1-or-later
// Exact softmax attention over all keys that are given, with grouped query heads.
#pragma once

#include <ATen/ATen.h>

namespace flowcache {

// q [heads, L, d], k and v [kv_heads, T, d] -> [L, heads * d]. kv_heads divides heads: each key head serves
// heads / kv_heads query heads that follow each other. Logits are scaled by 1 / sqrt(d).
inline at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const int64_t heads = q.size(0), length = q.size(1), dim = q.size(2), groups = k.size(0);
  // Flash attention shares keys between heads itself, reads q of any strides and writes [L, heads, d]. GPUs
  // older than Ampere do not have it, and then sharing heads would take the slowest way.
  constexpr int64_t flash = 1;  // at::SDPBackend::flash_attention
  const bool shared = heads != groups;
  if (q.is_cuda() && at::_fused_sdp_choice(q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0), {}, 0.0, false, {},
                                           shared) == flash)
    return at::scaled_dot_product_attention(q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0), {}, 0.0, false,
                                            {}, shared)
        .squeeze(0)
        .transpose(0, 1)
        .reshape({length, heads * dim});
  // There is no mask, so the query heads of a key head can be taken as more queries of it: keys
  // need not be repeated.
  const at::Tensor queries = q.reshape({1, groups, heads / groups * length, dim});
  const at::Tensor mixed = at::scaled_dot_product_attention(queries, k.unsqueeze(0), v.unsqueeze(0));
  return mixed.reshape({heads, length, dim}).transpose(0, 1).reshape({length, heads * dim});
}

}  // namespace flowcache
