// SPDX-License-Identifier: LGPL-2.1-or-later
// TokenTrim (arXiv 2602.00268): a video drifts because tokens that went wrong are attended again and again. A token whose
// latent lies far from the one at the same place of the chunk before is suspected. If the suspected tokens of a chunk lie
// further off than those of earlier chunks did (mean and standard deviation over the stream), they are dropped before
// another chunk attends them. The choice is the same for all layers and heads; the first chunks stay whole.
//
// Unlike the paper, a chunk in which tokens are dropped is not made again: its frames are on their way to the viewer.
// Older tokens take the place of what is dropped, so the context keeps its length.
#include <algorithm>
#include <cmath>
#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "cache/registry.h"

namespace flowcache {
namespace {

// Mean and standard deviation of the numbers so far (Welford).
class RunningStatistics {
 public:
  void add(double x) {
    ++count_;
    const double off = x - mean_;
    mean_ += off / count_;
    squares_ += off * (x - mean_);
  }
  int count() const { return count_; }
  double mean() const { return mean_; }
  double deviation() const { return count_ > 1 ? std::sqrt(squares_ / (count_ - 1)) : 0; }

 private:
  int count_ = 0;
  double mean_ = 0, squares_ = 0;
};

class TokenTrim final : public KvPolicy {
 public:
  TokenTrim(double share, double deviations, int sink_chunks)
      : share_(share), deviations_(deviations), sink_(sink_chunks) {}

  bool needs_drift() const override { return true; }

  void begin(int64_t, int64_t tokens_per_chunk, int64_t budget_tokens) override {
    statistics_ = {};
    dropped_.clear();
    judged_ = sink_ - 1;
    const int64_t whole = (sink_ + 1) * tokens_per_chunk;
    if (whole <= budget_tokens) return;
    throw Error(FC_ERROR_ARGUMENT, "KV cache policy tokentrim: a sink of " + std::to_string(sink_) +
                                       " chunks leaves no whole chunk of a budget of " +
                                       std::to_string(budget_tokens) + " tokens (a chunk has " +
                                       std::to_string(tokens_per_chunk) +
                                       " tokens): lower sink_chunks, or raise kv-budget");
  }

  at::Tensor keep(const HistoryLayer& layer, int64_t budget) override {
    if (layer.change.sizes() != at::IntArrayRef{layer.k.size(1)})
      throw Error(FC_ERROR_INTERNAL, "KV cache policy tokentrim did not get the drift of every token");
    const at::Tensor origin = layer.origin[0].contiguous(), drift = layer.change.contiguous();
    const int64_t total = origin.numel(), chunk = layer.tokens_per_chunk;
    const History history{origin.const_data_ptr<int64_t>(), drift.const_data_ptr<float>(), total, chunk};
    judge(history);
    std::vector<int64_t> slots, others;
    for (int64_t slot = 0; slot < total; ++slot)
      (history.token[slot] / chunk < sink_ ? slots : others).push_back(slot);
    std::erase_if(others, [&](int64_t slot) { return dropped_.contains(history.token[slot]); });
    const auto room = static_cast<size_t>(std::max<int64_t>(0, budget - static_cast<int64_t>(slots.size())));
    slots.insert(slots.end(), others.end() - std::min(room, others.size()), others.end());
    return at::tensor(slots, at::kLong);
  }

 private:
  struct History {
    const int64_t* token;  // its number in the video, for each slot; ascending
    const float* drift;
    int64_t slots, chunk;
  };

  // Each chunk once, in the order in which they came; the calls for further layers find nothing new. What was dropped
  // before is no longer in the history.
  void judge(const History& history) {
    if (history.token[history.slots - 1] / history.chunk > judged_) dropped_.clear();
    for (int64_t slot = 0; slot < history.slots;) {
      const int64_t chunk = history.token[slot] / history.chunk;
      const int64_t begin = slot;
      while (slot < history.slots && history.token[slot] / history.chunk == chunk) ++slot;
      if (chunk <= judged_) continue;
      judged_ = chunk;
      judge_chunk(history, begin, slot);
    }
  }

  void judge_chunk(const History& history, int64_t begin, int64_t end) {
    std::vector<int64_t> order;
    for (int64_t slot = begin; slot < end; ++slot) order.push_back(slot);
    const auto suspected = static_cast<int64_t>(share_ * static_cast<double>(end - begin));
    if (suspected == 0) return;
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return history.drift[a] > history.drift[b]; });
    order.resize(static_cast<size_t>(suspected));
    double severity = 0;
    for (const int64_t slot : order) severity += history.drift[slot] / static_cast<double>(suspected);
    if (severity == 0) return;  // the first of the video, or of a new scene
    constexpr int fewest = 2;   // chunks that make a deviation
    const bool drifts = statistics_.count() >= fewest &&
                        severity > statistics_.mean() + deviations_ * statistics_.deviation();
    if (drifts)
      for (const int64_t slot : order) dropped_.insert(history.token[slot]);
    else
      statistics_.add(severity);
  }

  double share_, deviations_;
  int64_t sink_, judged_ = -1;
  RunningStatistics statistics_;
  std::unordered_set<int64_t> dropped_;  // tokens of the video, of the chunks that were judged last
};

}  // namespace

namespace kv {

PolicyEntry<KvPolicy> tokentrim() {
  return {
      .name = "tokentrim",
      .summary = "the newest frames without tokens that drifted from the chunk before, and the first chunks",
      .paper = "TokenTrim, arXiv 2602.00268",
      .options = {{.name = "share",
                   .help = "share of a chunk's tokens, those that drifted most, that are suspected",
                   .value = 0.1,
                   .min = 0,
                   .max = 0.9},
                  {.name = "deviations",
                   .help = "standard deviations above the mean drift from which on they are dropped",
                   .value = 2,
                   .min = 0,
                   .max = 100},
                  count_option("sink_chunks", "first chunks of the video that stay whole", 1)},
      .make = [](const Options& options) -> std::unique_ptr<KvPolicy> {
        return std::make_unique<TokenTrim>(options.number("share"), options.number("deviations"),
                                           options.integer("sink_chunks"));
      }};
}

}  // namespace kv
}  // namespace flowcache
