// SPDX-License-Identifier: LGPL-2.1-or-later
// The first frames of the video (an attention sink) and the newest frames, as many as the budget holds.
// Without a sink this is the rolling cache of Self-Forcing (arXiv 2506.08009), with one that of LongLive
// (arXiv 2509.22622).
#include "cache/kv/window.h"

#include "base/error.h"
#include "cache/registry.h"

namespace flowcache {

void WindowKv::begin(int64_t tokens_per_frame, int64_t tokens_per_chunk, int64_t budget_tokens) {
  const int64_t sink = config_.sink_frames * tokens_per_frame;
  const int64_t unit = config_.whole_chunks ? tokens_per_chunk : tokens_per_frame;
  if (sink == 0 || sink + unit <= budget_tokens) return;
  throw Error(FC_ERROR_ARGUMENT, "a sink of " + std::to_string(config_.sink_frames) +
                                     " frames leaves nothing of a KV budget of " +
                                     std::to_string(budget_tokens / tokens_per_frame) +
                                     " frames: lower sink_frames or raise kv-budget");
}

at::Tensor WindowKv::keep(const HistoryLayer& layer, int64_t budget) {
  const int64_t total = layer.k.size(1), sink = config_.sink_frames * layer.tokens_per_frame;
  const int64_t unit = config_.whole_chunks ? layer.tokens_per_chunk : layer.tokens_per_frame;
  const int64_t recent = (budget - sink) / unit * unit;
  return at::cat({at::arange(sink, at::kLong), at::arange(total - recent, total, at::kLong)});
}

OptionSpec positions_option() {
  return {
      .name = "positions",
      .help =
          "time positions of kept frames: as in the video; relative: moved up to the newer frames, without "
          "gaps; auto: moved up only as far as the model's trained length demands (cache.trained_frames)",
      .words = {"auto", "absolute", "relative"}};
}

Positions positions_of(const Options& options) {
  const std::string& word = options.word("positions");
  return word == "relative"   ? Positions::relative
         : word == "absolute" ? Positions::absolute
                              : Positions::automatic;
}

namespace kv {

PolicyEntry<KvPolicy> window() {
  return {.name = "window",
          .summary = "an optional attention sink, and the newest frames that the budget holds",
          .paper = "Self-Forcing, arXiv 2506.08009; LongLive, arXiv 2509.22622",
          .options = {count_option("sink_frames", "first latent frames of the video that are never dropped",
                                   0, 0, 10000),
                      positions_option()},
          .make = [](const Options& options) -> std::unique_ptr<KvPolicy> {
            return std::make_unique<WindowKv>(WindowKv::Config{.sink_frames = options.integer("sink_frames"),
                                                               .positions = positions_of(options)});
          }};
}

}  // namespace kv
}  // namespace flowcache
