// SPDX-License-Identifier: LGPL-2.1-or-later
// FlowCache's KV compression (arXiv 2602.10825). Each layer and kv head keeps the tokens with the best score:
// importance to recent queries minus redundancy among the keys.
#include <algorithm>
#include <vector>

#include "base/error.h"
#include "cache/kv/kv_score.h"
#include "cache/registry.h"

namespace flowcache {
namespace {

struct FlowCacheKvConfig {
  KvScoreConfig score;
  KvQueries queries = KvQueries::frame;
  bool reference_order = false;
};

class FlowCacheKv final : public KvPolicy {
 public:
  explicit FlowCacheKv(FlowCacheKvConfig config) : config_(config) {}

  bool needs_queries() const override { return true; }
  int64_t queries_wanted(int64_t tokens_per_frame, int64_t tokens_per_chunk) const override {
    return query_count(config_.queries, tokens_per_frame, tokens_per_chunk);
  }

  void begin(int64_t tokens_per_frame, int64_t tokens_per_chunk, int64_t budget_tokens) override {
    const int64_t group = group_size(tokens_per_frame, tokens_per_chunk);
    if (budget_tokens % group == 0) return;
    throw Error(FC_ERROR_ARGUMENT, "KV cache policy flowcache: a budget of " + std::to_string(budget_tokens) +
                                       " tokens is not a multiple of the unit of " + std::to_string(group) +
                                       " tokens: use unit=token or another kv-budget");
  }

  at::Tensor keep(const HistoryLayer& layer, int64_t budget) override {
    const int64_t wanted = queries_wanted(layer.tokens_per_frame, layer.tokens_per_chunk);
    const int64_t count = std::min(wanted, layer.queries.size(1));
    const at::Tensor queries = layer.queries.narrow(1, layer.queries.size(1) - count, count);
    const at::Tensor importance =
        kv_pool(kv_importance(queries, layer.k, layer.scratch_bytes / 2), config_.score.pool);
    const at::Tensor score = kv_score(importance, kv_redundancy(layer.k), config_.score,
                                      layer.tokens_per_frame, layer.tokens_per_chunk);
    const at::Tensor best =
        kv_best(score, budget, group_size(layer.tokens_per_frame, layer.tokens_per_chunk));
    // Ascending, so that neighbours in the buffer are neighbours in the picture when the next compression
    // pools them.
    return config_.reference_order ? best : std::get<0>(best.sort(-1));
  }

 private:
  int64_t group_size(int64_t tokens_per_frame, int64_t tokens_per_chunk) const {
    if (config_.score.unit == KvUnit::token) return 1;
    return config_.score.unit == KvUnit::frame ? tokens_per_frame : tokens_per_chunk;
  }

  FlowCacheKvConfig config_;
};

KvUnit unit_of(const std::string& word) {
  return word == "chunk" ? KvUnit::chunk : word == "frame" ? KvUnit::frame : KvUnit::token;
}

KvQueries queries_of(const std::string& word) {
  return word == "chunk" ? KvQueries::chunk : word == "frame" ? KvQueries::frame : KvQueries::token;
}

KvWeighting weighting_of(const std::string& word) {
  if (word == "parity_hard_code") return KvWeighting::hard_code;
  if (word == "exponential") return KvWeighting::exponential;
  if (word == "polynomial") return KvWeighting::polynomial;
  if (word == "upper_convex") return KvWeighting::upper_convex;
  if (word == "gaussian") return KvWeighting::gaussian;
  return KvWeighting::none;
}

std::vector<OptionSpec> flowcache_kv_options() {
  return {
      {.name = "lambda",
       .help = "weight of importance against redundancy",
       .value = 0.07,
       .min = 0,
       .max = 1},
      count_option("half_pool", "importance is the maximum over this many tokens on either side", 3, 0, 64),
      {.name = "unit", .help = "what is kept or dropped as a whole", .words = {"token", "frame", "chunk"}},
      {.name = "queries",
       .help =
           "queries that importance is measured by: the last frame, the whole chunk, or the last 50 tokens",
       .words = {"frame", "chunk", "token"}},
      {.name = "weighting",
       .help = "factor by age, unit token only",
       .words = {"none", "exponential", "polynomial", "upper_convex", "gaussian", "parity_hard_code"}},
      {.name = "power", .help = "exponent of the polynomial weightings", .value = 3, .min = 0.1, .max = 16},
      {.name = "order",
       .help = "order of the kept tokens: time, or falling score as in the reference code",
       .words = {"time", "score"},
       .parity = true},
  };
}

}  // namespace

namespace kv {

PolicyEntry<KvPolicy> flowcache() {
  return {
      .name = "flowcache",
      .summary = "per layer and head, keeps tokens that recent queries attend and that no other key repeats",
      .paper = "FlowCache: Caching for autoregressive video diffusion, arXiv 2602.10825",
      .options = flowcache_kv_options(),
      .make = [](const Options& options) -> std::unique_ptr<KvPolicy> {
        FlowCacheKvConfig config;
        config.score.lambda = options.number("lambda");
        config.score.pool = 2 * options.integer("half_pool") + 1;
        config.score.unit = unit_of(options.word("unit"));
        config.score.weighting = weighting_of(options.word("weighting"));
        config.score.power = options.number("power");
        config.queries = queries_of(options.word("queries"));
        config.reference_order = options.word("order") == "score";
        return std::make_unique<FlowCacheKv>(config);
      }};
}

}  // namespace kv
}  // namespace flowcache
