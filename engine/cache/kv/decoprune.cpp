// SPDX-License-Identifier: LGPL-2.1-or-later
// DeCoPrune (2026, no code published). At an early step the network's estimate of the clean latent is
// compared with the finished latent. A token whose estimate was already right carries little; tokens that
// changed a lot are kept. The choice is the same for all layers and heads. The first chunk and the newest one
// stay whole. Unlike the paper, tokens are dropped only when the history exceeds its budget: first those
// below the threshold, oldest first, then those that changed least.
#include <algorithm>
#include <vector>

#include "base/error.h"
#include "cache/registry.h"

namespace flowcache {
namespace {

class DecoPrune final : public KvPolicy {
 public:
  DecoPrune(double probe, double threshold, int sink_chunks, int recent_chunks)
      : probe_(probe), threshold_(threshold), sink_(sink_chunks), recent_(recent_chunks) {}

  int needs_change(int steps) const override { return std::min(steps - 1, static_cast<int>(probe_ * steps)); }

  void begin(int64_t, int64_t tokens_per_chunk, int64_t budget_tokens) override {
    const int64_t whole = (sink_ + recent_) * tokens_per_chunk;
    if (whole <= budget_tokens) return;
    throw Error(FC_ERROR_ARGUMENT, "KV cache policy decoprune: " + std::to_string(sink_ + recent_) +
                                       " chunks that stay whole leave nothing of a budget of " +
                                       std::to_string(budget_tokens) + " tokens to prune (a chunk has " +
                                       std::to_string(tokens_per_chunk) +
                                       " tokens): lower sink_chunks or recent_chunks, or raise kv-budget");
  }

  at::Tensor keep(const HistoryLayer& layer, int64_t budget) override {
    if (layer.change.sizes() != at::IntArrayRef{layer.k.size(1)})
      throw Error(FC_ERROR_INTERNAL, "KV cache policy decoprune did not get the change of every token");
    const at::Tensor origin = layer.origin[0].contiguous(), change = layer.change.contiguous();
    const int64_t* token = origin.const_data_ptr<int64_t>();
    const float* changed = change.const_data_ptr<float>();
    const int64_t total = origin.numel(), chunk = layer.tokens_per_chunk;
    const int64_t newest = token[total - 1] / chunk;
    std::vector<int64_t> slots, others;
    for (int64_t slot = 0; slot < total; ++slot) {
      const int64_t of = token[slot] / chunk;
      const bool whole = of < sink_ || of > newest - recent_;
      (whole ? slots : others).push_back(slot);
    }
    const auto room = static_cast<size_t>(std::max<int64_t>(0, budget - static_cast<int64_t>(slots.size())));
    // The most useful tokens first: those above the threshold, by their change; then the others, newest
    // first.
    std::stable_sort(others.begin(), others.end(), [&](int64_t a, int64_t b) {
      const bool above_a = changed[a] > threshold_, above_b = changed[b] > threshold_;
      if (above_a != above_b) return above_a;
      return above_a ? changed[a] > changed[b] : a > b;
    });
    slots.insert(slots.end(), others.begin(), others.begin() + std::min(room, others.size()));
    std::sort(slots.begin(), slots.end());
    return at::tensor(slots, at::kLong);
  }

 private:
  double probe_, threshold_;
  int64_t sink_, recent_;
};

}  // namespace

namespace kv {

PolicyEntry<KvPolicy> decoprune() {
  return {
      .name = "decoprune",
      .summary =
          "tokens whose clean estimate still changed after an early step; the first and newest chunks whole",
      .paper = "DeCoPrune, 2026",
      .options = {{.name = "probe",
                   .help = "share of a chunk's steps after which the estimate is taken",
                   .value = 0.5,
                   .min = 0,
                   .max = 1},
                  {.name = "threshold",
                   .help = "a token counts as changed if its mean squared change is larger",
                   .value = 0.1,
                   .min = 0,
                   .max = 1000},
                  count_option("sink_chunks", "first chunks of the video that stay whole", 1),
                  count_option("recent_chunks", "newest chunks that stay whole", 1)},
      .make = [](const Options& options) -> std::unique_ptr<KvPolicy> {
        return std::make_unique<DecoPrune>(options.number("probe"), options.number("threshold"),
                                           options.integer("sink_chunks"), options.integer("recent_chunks"));
      }};
}

}  // namespace kv
}  // namespace flowcache
