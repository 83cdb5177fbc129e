// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cache/kv/kv_score.h"

#include <cmath>
#include <limits>

namespace flowcache {

int64_t query_count(KvQueries granularity, int64_t tokens_per_frame, int64_t tokens_per_chunk) {
  constexpr int64_t observed_tokens = 50;
  const int64_t wanted = granularity == KvQueries::chunk   ? tokens_per_chunk
                         : granularity == KvQueries::frame ? tokens_per_frame
                                                           : observed_tokens;
  return std::min(wanted, tokens_per_chunk);
}

at::Tensor kv_importance(const at::Tensor& queries, const at::Tensor& keys) {
  const int64_t kv_heads = keys.size(0), tokens = keys.size(1), dim = keys.size(2);
  const int64_t shared = queries.size(0) / kv_heads, count = queries.size(1);
  const at::Tensor q = queries.to(at::kFloat).view({kv_heads, shared, count, dim});
  const at::Tensor kt = keys.to(at::kFloat).transpose(1, 2);
  const double scale = 1 / std::sqrt(static_cast<double>(dim));

  // The number of queries whose logits take a few MB.
  constexpr int64_t most_logits = 1 << 21;
  const int64_t block = std::max<int64_t>(1, most_logits / std::max<int64_t>(1, kv_heads * tokens));
  at::Tensor sum = at::zeros({kv_heads, tokens}, kt.options());
  for (int64_t start = 0; start < count; start += block) {
    const int64_t length = std::min(block, count - start);
    at::Tensor logits;
    for (int64_t g = 0; g < shared; ++g) {
      const at::Tensor one = at::matmul(q.select(1, g).narrow(1, start, length), kt).mul_(scale);
      logits = g == 0 ? one : at::maximum(logits, one);
    }
    sum += logits.softmax(-1).sum(1);
  }
  return sum.div_(static_cast<double>(count));
}

at::Tensor kv_pool(const at::Tensor& importance, int kernel) {
  return at::max_pool1d(importance, kernel, 1, kernel / 2);
}

at::Tensor kv_redundancy(const at::Tensor& keys) {
  const int64_t tokens = keys.size(1);
  const at::Tensor k = keys.to(at::kFloat);
  const at::Tensor unit = k / (k.norm(2, -1, true) + 1e-8);
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
    score = score * kv_position_weight(score.size(1), config.weighting, config.power).to(score.device());
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
