// SPDX-License-Identifier: LGPL-2.1-or-later
// FlowCache's score of the tokens in history (arXiv 2602.10825): their importance to recent queries minus
// their redundancy among the keys.
//
// Shapes: queries [heads, Lq, d] and keys [kv_heads, T, d], both after norm and RoPE. All results are fp32.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace flowcache {

enum class KvUnit { token, frame, chunk };
enum class KvQueries { token, frame, chunk };  // the last 50 queries, the last frame's, all of the chunk
enum class KvWeighting { none, hard_code, exponential, polynomial, upper_convex, gaussian };

struct KvScoreConfig {
  double lambda = 0.07;  // factor of the importance; 1 - lambda is the factor of the redundancy
  int pool = 7;          // importance is the maximum over this many neighbouring tokens; odd
  KvUnit unit = KvUnit::token;
  KvWeighting weighting = KvWeighting::none;  // only for unit token
  double power = 3;                           // of the weightings polynomial and upper_convex
  bool subtract_minimum = true;               // unit token only: the smallest score of each head becomes 0
};

// How many queries at the end of a chunk are used; at most tokens_per_chunk.
int64_t query_count(KvQueries granularity, int64_t tokens_per_frame, int64_t tokens_per_chunk);

// The mean over the queries of the softmax over the keys: [kv_heads, T]. Logits of query heads that share a
// kv head are reduced to their maximum. Queries are processed in blocks, so the memory does not grow with
// their number. scratch_bytes: what may be used for a moment on a device that is not the CPU.
at::Tensor kv_importance(const at::Tensor& queries, const at::Tensor& keys,
                         uint64_t scratch_bytes = uint64_t{64} << 20);
// The same in another order of sums, for GPUs: few launches, in as much memory as is given; and without the matrix of
// all logits, by the attention operator alone, if no heads are shared. `queries` and `keys` of the second have one type.
at::Tensor importance_in_large_blocks(const at::Tensor& queries, const at::Tensor& keys,
                                      uint64_t scratch_bytes);
at::Tensor importance_by_attention(const at::Tensor& queries, const at::Tensor& keys);
// The maximum over `kernel` neighbouring tokens; outside of the range counts as -inf. [kv_heads, T] -> the
// same shape.
at::Tensor kv_pool(const at::Tensor& importance, int kernel);
// The softmax over the tokens of each key's mean cosine to all other keys: [kv_heads, T]. It takes O(T d):
// the sum of the unit keys is used instead of the T x T matrix.
at::Tensor kv_redundancy(const at::Tensor& keys);
// The factor of each of `tokens` slots by age: [tokens]. All are 1 for `none` and `hard_code`.
at::Tensor kv_position_weight(int64_t tokens, KvWeighting weighting, double power);

// lambda * importance - (1 - lambda) * redundancy, then minimum and weighting: [kv_heads, T]. For the units
// frame and chunk, the mean over the tokens of each unit: [kv_heads, units]. `importance` has been through
// kv_pool(). T is a multiple of the unit's tokens.
at::Tensor kv_score(const at::Tensor& importance, const at::Tensor& redundancy, const KvScoreConfig& config,
                    int64_t tokens_per_frame, int64_t tokens_per_chunk);

// The slots with the highest scores, best first; of equal scores the older first. `group` is the number of
// tokens that one score stands for. [kv_heads, kept] int64; kept is the budget, rounded down to whole groups.
// The tokens of a group stay together, ascending.
at::Tensor kv_best(const at::Tensor& score, int64_t budget, int64_t group);

}  // namespace flowcache
