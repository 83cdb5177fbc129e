// SPDX-License-Identifier: LGPL-2.1-or-later
// First in, first out, after an optional attention sink. Whole frames or chunks are dropped, because a part
// of a frame is worse context than none.
#pragma once

#include "cache/kv/kv_policy.h"
#include "cache/registry.h"

namespace flowcache {

class WindowKv final : public KvPolicy {
 public:
  struct Config {
    int64_t sink_frames = 0;
    bool whole_chunks = false;
    Positions positions = Positions::absolute;
  };
  explicit WindowKv(Config config) : config_(config) {}

  void begin(int64_t tokens_per_frame, int64_t tokens_per_chunk, int64_t budget_tokens) override;
  Positions positions() const override { return config_.positions; }
  // Behind the sink is the only gap.
  int64_t movable(int64_t tokens_per_frame, int64_t) const override {
    return config_.sink_frames * tokens_per_frame;
  }
  at::Tensor keep(const HistoryLayer& layer, int64_t budget) override;

 private:
  Config config_;
};

// The option "positions" of policies that can move keys in time: "auto", "absolute" or "relative".
OptionSpec positions_option();
Positions positions_of(const Options& options);

}  // namespace flowcache
