// SPDX-License-Identifier: LGPL-2.1-or-later
// No reuse: every step runs the network. The other policies are compared with this one.
#include "cache/registry.h"

namespace flowcache {
namespace {

class ComputeAlways final : public ReusePolicy {
 public:
  Tap taps() const override { return Tap::none; }
  ReuseKind kind() const override { return ReuseKind::velocity; }
  std::vector<Decision> decide(std::span<const ChunkStep> tick, double) override {
    return std::vector<Decision>(tick.size());
  }
  void end_chunk(int64_t) override {}
  void reset() override {}
  uint64_t state_bytes() const override { return 0; }
};

}  // namespace

namespace reuse {

PolicyEntry<ReusePolicy> none() {
  return {.name = "none",
          .summary = "every step runs the network",
          .make = [](const Options&) -> std::unique_ptr<ReusePolicy> {
            return std::make_unique<ComputeAlways>();
          }};
}

}  // namespace reuse
}  // namespace flowcache
