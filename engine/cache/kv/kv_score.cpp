// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/kv/kv_score.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "networks/upload.h"

namespace flowcache {
namespace {

double logit_scale(int64_t dim) {
  return 1 / std::sqrt(static_cast<double>(dim));
}

// Blocks of queries whose logits take a few MB, which stay in a processor's caches. The order of the sums is part of
// the result, bit by bit.
at::Tensor importance_in_small_blocks(const at::Tensor& queries, const at::Tensor& keys) {
  const int64_t kv_heads = keys.size(0), tokens = keys.size(1), dim = keys.size(2);
  const int64_t shared = queries.size(0) / kv_heads, count = queries.size(1);
  const at::Tensor q = queries.to(at::kFloat).view({kv_heads, shared, count, dim});
  const at::Tensor kt = keys.to(at::kFloat).transpose(1, 2);
  constexpr int64_t most_logits = 1 << 21;
  const int64_t block = std::max<int64_t>(1, most_logits / std::max<int64_t>(1, kv_heads * tokens));
  at::Tensor sum = at::zeros({kv_heads, tokens}, kt.options());
  for (int64_t start = 0; start < count; start += block) {
    const int64_t length = std::min(block, count - start);
    at::Tensor logits;
    for (int64_t g = 0; g < shared; ++g) {
      const at::Tensor one = at::matmul(q.select(1, g).narrow(1, start, length), kt).mul_(logit_scale(dim));
      logits = g == 0 ? one : at::maximum(logits, one);
    }
    sum += logits.softmax(-1).sum(1);
  }
  return sum.div_(static_cast<double>(count));
}

// log(sum over j of exp(scale * q_i k_j)) of each query i, from the attention operator: [heads, queries] fp32.
at::Tensor log_sum_exp(const at::Tensor& q, const at::Tensor& k, double scale) {
  const at::Tensor one_q = q.unsqueeze(0), one_k = k.unsqueeze(0);
  if (!q.is_cuda())
    return std::get<1>(
        at::_scaled_dot_product_flash_attention_for_cpu(one_q, one_k, one_k, 0.0, false, {}, scale))[0];
  // Its values are not looked at, so that they are as narrow as the operator takes them. It pads its sums.
  const at::Tensor narrow = one_k.narrow(-1, 0, std::min<int64_t>(8, k.size(2)));
  return std::get<1>(at::_scaled_dot_product_efficient_attention(one_q, one_k, narrow, {}, true, 0.0, false,
                                                                 scale))[0]
      .narrow(1, 0, q.size(1));
}

}  // namespace

int64_t query_count(KvQueries granularity, int64_t tokens_per_frame, int64_t tokens_per_chunk) {
  constexpr int64_t observed_tokens = 50;
  const int64_t wanted = granularity == KvQueries::chunk   ? tokens_per_chunk
                         : granularity == KvQueries::frame ? tokens_per_frame
                                                           : observed_tokens;
  return std::min(wanted, tokens_per_chunk);
}

at::Tensor kv_importance(const at::Tensor& queries, const at::Tensor& keys, uint64_t scratch_bytes) {
  if (keys.is_cpu()) return importance_in_small_blocks(queries, keys);
  if (keys.is_cuda() && queries.size(0) == keys.size(0)) {
    try {
      return importance_by_attention(queries, keys);
    } catch (const c10::OutOfMemoryError&) {
      throw;
    } catch (const c10::Error&) {
      // The operator has no kernel for this type on this card, such as bf16 before sm_80.
    }
  }
  return importance_in_large_blocks(queries, keys, scratch_bytes);
}

at::Tensor importance_in_large_blocks(const at::Tensor& queries, const at::Tensor& keys,
                                      uint64_t scratch_bytes) {
  const int64_t kv_heads = keys.size(0), tokens = keys.size(1), dim = keys.size(2);
  const int64_t shared = queries.size(0) / kv_heads, count = queries.size(1);
  const at::Tensor q = queries.to(at::kFloat).mul(logit_scale(dim)).view({kv_heads, shared, count, dim});
  const at::Tensor kt = keys.to(at::kFloat).transpose(1, 2);
  // Logits of all heads, their maximum, and its softmax are there at once.
  const int64_t bytes_of_query = 4 * kv_heads * tokens * (shared + 2);
  const int64_t block = std::clamp<int64_t>(static_cast<int64_t>(scratch_bytes) / bytes_of_query, 1, count);
  at::Tensor sum = at::zeros({kv_heads, tokens}, kt.options());
  for (int64_t start = 0; start < count; start += block) {
    const int64_t length = std::min(block, count - start);
    at::Tensor logits = at::matmul(q.narrow(2, start, length).reshape({kv_heads, shared * length, dim}), kt);
    if (shared > 1) logits = logits.view({kv_heads, shared, length, tokens}).amax(1);
    sum += logits.softmax(-1).sum(1);
  }
  return sum.div_(static_cast<double>(count));
}

// The sum over the queries i of exp(s_ij - lse_i) is itself a sum of exponentials, over the other index. So a second
// attention, of keys over queries, has it, if each logit is given -lse_i: as further numbers of the query, by 1 of the
// key. Three numbers of 8 bits together are as exact as fp32, in whatever type the operator multiplies.
at::Tensor importance_by_attention(const at::Tensor& queries, const at::Tensor& keys) {
  const int64_t heads = keys.size(0), dim = keys.size(2);
  const double scale = logit_scale(dim);
  constexpr int64_t parts = 3, more = 8;  // rows stay aligned
  at::Tensor rest = log_sum_exp(queries, keys, scale).unsqueeze(-1).mul(-1 / scale);
  at::Tensor q = at::zeros({heads, queries.size(1), dim + more}, queries.options());
  q.narrow(2, 0, dim).copy_(queries);
  for (int64_t part = 0; part < parts; ++part) {
    const at::Tensor rounded = rest.to(at::kBFloat16);
    q.narrow(2, dim + part, 1).copy_(rounded);
    if (part + 1 < parts) rest = rest - rounded;
  }
  at::Tensor k = at::zeros({heads, keys.size(1), dim + more}, keys.options());
  k.narrow(2, 0, dim).copy_(keys);
  k.narrow(2, dim, parts).fill_(1);
  return log_sum_exp(k, q, scale).exp().div_(static_cast<double>(queries.size(1)));
}

at::Tensor kv_pool(const at::Tensor& importance, int kernel) {
  return at::max_pool1d(importance, kernel, 1, kernel / 2);
}

at::Tensor kv_redundancy(const at::Tensor& keys) {
  const int64_t tokens = keys.size(1);
  const at::Tensor k = keys.to(at::kFloat), length = k.norm(2, -1, true) + 1e-8;
  const at::Tensor unit = k.is_same(keys) ? k / length : k.div_(length);    // no second copy in fp32
  const at::Tensor total = unit.sum(1, true).transpose(1, 2);               // [kv_heads, d, 1]
  const at::Tensor others = at::matmul(unit, total).squeeze(-1).sub_(1.0);  // a key's cosine to itself is 1
  return others.div_(static_cast<double>(tokens)).softmax(-1);
}

at::Tensor kv_position_weight(int64_t tokens, KvWeighting weighting, double power) {
  const at::Tensor slot = at::arange(tokens, at::kDouble);
  const at::Tensor p = slot / static_cast<double>(std::max<int64_t>(1, tokens - 1));
  switch (weighting) {
    case KvWeighting::none:
    case KvWeighting::hard_code:
      return at::ones({tokens}, at::kFloat);
    case KvWeighting::exponential:
      return (0.1 + 0.9 * (1 - (p * -2).exp()) / (1 - std::exp(-2.0))).to(at::kFloat);
    case KvWeighting::polynomial:
      return (0.1 + 0.9 * p.pow(power)).to(at::kFloat);
    case KvWeighting::upper_convex:
      return (2 * (1 - (1 - p).pow(power))).to(at::kFloat);
    case KvWeighting::gaussian: {
      // A bell curve with its top at the oldest slot. Its range from the least value to 1 is stretched to 0.1
      // to 1.
      const double sigma = static_cast<double>(tokens) / 4;
      const at::Tensor bell = (slot.square() * (-0.5 / (sigma * sigma))).exp();
      const double least = bell.min().item<double>();
      if (least == 1) return at::ones({tokens}, at::kFloat);
      return (0.1 + 0.9 * (bell - least) / (1 - least)).to(at::kFloat);
    }
  }
  return {};
}

at::Tensor kv_score(const at::Tensor& importance, const at::Tensor& redundancy, const KvScoreConfig& config,
                    int64_t tokens_per_frame, int64_t tokens_per_chunk) {
  at::Tensor score = config.lambda * importance - (1 - config.lambda) * redundancy;
  if (config.unit != KvUnit::token) {
    const int64_t group = config.unit == KvUnit::frame ? tokens_per_frame : tokens_per_chunk;
    return score.view({score.size(0), -1, group}).mean(-1);
  }
  if (config.subtract_minimum) score = score - std::get<0>(score.min(-1, true));
  if (config.weighting == KvWeighting::hard_code)
    score.narrow(1, 0, std::min(tokens_per_chunk, score.size(1))).sub_(1e6);
  else if (config.weighting != KvWeighting::none)
    score = score * upload(kv_position_weight(score.size(1), config.weighting, config.power), score.device());
  return score;
}

at::Tensor kv_best(const at::Tensor& score, int64_t budget, int64_t group) {
  const int64_t kept = std::min(budget / group, score.size(1));
  const at::Tensor order = std::get<1>(score.sort(/*stable=*/true, /*dim=*/-1, /*descending=*/true));
  const at::Tensor best = order.narrow(1, 0, kept);
  if (group == 1) return best.contiguous();
  const at::Tensor within = at::arange(group, best.options());
  return (best.unsqueeze(-1) * group + within).flatten(1);
}

}  // namespace flowcache
