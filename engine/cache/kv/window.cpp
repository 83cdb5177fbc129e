// SPDX-License-Identifier: LGPL-2.1-or-later
// An attention sink and a window: the first frames of the video and the most recent ones, as many as the
// budget holds. The rolling cache of Self-Forcing and, with a sink, of LongLive.
#include "cache/registry.h"
#include "error.h"

namespace flowcache {
namespace {

class WindowKv final : public KvPolicy {
 public:
  explicit WindowKv(int64_t sink_frames) : sink_frames_(sink_frames) {}

  void begin(int64_t tokens_per_frame, int64_t, int64_t budget_tokens) override {
    const int64_t most = budget_tokens / tokens_per_frame;
    if (sink_frames_ < most || sink_frames_ == 0) return;
    throw Error(FC_ERROR_ARGUMENT, "KV cache policy window: a sink of " + std::to_string(sink_frames_) +
                                       " frames leaves nothing of a budget of " + std::to_string(most) +
                                       " frames: lower sink_frames or raise kv-budget");
  }

  // Whole frames only: a torn frame is worse context than none.
  at::Tensor keep(const HistoryLayer& layer, int64_t budget) override {
    const int64_t total = layer.k.size(1), sink = sink_frames_ * layer.tokens_per_frame;
    const int64_t frames = budget / layer.tokens_per_frame;
    const int64_t recent = frames * layer.tokens_per_frame - sink;
    return at::cat({at::arange(sink, at::kLong), at::arange(total - recent, total, at::kLong)});
  }

 private:
  int64_t sink_frames_;
};

}  // namespace

namespace kv {

PolicyEntry<KvPolicy> window() {
  return {.name = "window",
          .summary = "the most recent frames that the budget holds, after an optional attention sink",
          .paper = "Self-Forcing, arXiv 2506.08009; LongLive, arXiv 2509.22622",
          .options = {{.name = "sink_frames",
                       .help = "first latent frames of the video that are never dropped",
                       .value = 0,
                       .min = 0,
                       .max = 10000,
                       .whole = true}},
          .make = [](const Options& options) -> std::unique_ptr<KvPolicy> {
            return std::make_unique<WindowKv>(options.integer("sink_frames"));
          }};
}

}  // namespace kv
}  // namespace flowcache
