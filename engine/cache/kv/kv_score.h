// SPDX-License-Identifier: LGPL-2.1-or-later
// Which tokens of the history matter: FlowCache's score (arXiv 2602.10825), importance to recent queries
// minus redundancy among the keys.
//
// Shapes: queries [heads, Lq, d]; keys [kv_heads, T, d] after norm and RoPE; everything returned is fp32.
#pragma once

#include <ATen/ATen.h>

#include <string_view>

namespace flowcache {

enum class KvUnit { token, frame, chunk };
enum class KvQueries { token, frame, chunk };  // the last 50 queries, the last frame's, all of the chunk
enum class KvWeighting { none, hard_code, exponential, polynomial, upper_convex, gaussian };

struct KvScoreConfig {
  double lambda = 0.07;  // weight of importance; 1 - lambda that of redundancy
  int pool = 7;          // max-pool over neighbouring tokens, odd
  KvUnit unit = KvUnit::token;
  KvWeighting weighting = KvWeighting::none;  // unit token only
  double power = 3;                           // of the polynomial weightings
  bool subtract_minimum = true;               // unit token only: the least score of each head becomes 0
};

// The last queries of a chunk that the granularity names; all of them if there are fewer.
int64_t query_count(KvQueries granularity, int64_t tokens_per_frame, int64_t tokens_per_chunk);

// Mean over the queries of the softmax over the keys, logits max-pooled over the query heads that share a kv
// head. [kv_heads, T]. Needs room for one block of queries' logits, not for all. Reads keys only.
at::Tensor kv_importance(const at::Tensor& queries, const at::Tensor& keys);
// Max over `kernel` neighbouring tokens, -inf outside. [kv_heads, T] -> same.
at::Tensor kv_pool(const at::Tensor& importance, int kernel);
// Softmax over tokens of the mean cosine to all other keys, in O(T d): the sum of unit keys instead of the T
// x T matrix.
at::Tensor kv_redundancy(const at::Tensor& keys);
// Factor for each of `tokens` slots, [tokens]; all one for `none` and `hard_code`.
at::Tensor kv_position_weight(int64_t tokens, KvWeighting weighting, double power);

// lambda * importance - (1 - lambda) * redundancy, then minimum and weighting: [kv_heads, T]; for unit frame
// or chunk the mean of each group of `group` tokens: [kv_heads, T / group]. `importance` is after kv_pool().
// T must be a multiple of the group.
at::Tensor kv_score(const at::Tensor& importance, const at::Tensor& redundancy, const KvScoreConfig& config,
                    int64_t tokens_per_frame, int64_t tokens_per_chunk);

// Slots of the highest scores, best first (equal scores: the older first): [kv_heads, kept] int64, kept =
// budget rounded down to whole groups. A group's tokens stay together, ascending.
at::Tensor kv_best(const at::Tensor& score, int64_t budget, int64_t group);

}  // namespace flowcache
