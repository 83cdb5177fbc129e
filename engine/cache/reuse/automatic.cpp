// SPDX-License-Identifier: LGPL-2.1-or-later
// This project's own: `ramp` with as many computed steps as the deadline allows. The stream's governor
// measures and decides; a chunk keeps the number that was in force when it began.
#include <map>

#include "cache/reuse/predictor.h"
#include "cache/reuse/ramp.h"

namespace flowcache {
namespace {

class Automatic final : public PerChunkPolicy {
 public:
  Automatic(int floor, int ceiling, double power) : floor_(floor), ceiling_(ceiling), power_(power) {}
  Tap taps() const override { return Tap::none; }
  ReuseKind kind() const override { return ReuseKind::velocity; }

  Range governed(int steps) const override {
    const int most = ceiling_ == 0 ? steps : std::min(ceiling_, steps);
    return {std::min(floor_, most), most};
  }
  void allow(int computed) override { allowed_ = computed; }

  void end_chunk(int64_t chunk) override { computed_.erase(chunk); }
  void reset() override { computed_.clear(); }
  uint64_t state_bytes() const override { return 0; }

 private:
  Decision decide_one(const ChunkStep& step, double threshold) override {
    const StepInfo& info = step.info;
    const auto [own, first] = computed_.try_emplace(info.chunk, allowed_);
    const bool compute = !(threshold > 0) || info.must_compute || first || info.step >= info.steps - 1 ||
                         on_ramp(info.step, info.steps, own->second, power_);
    return {.action = compute ? Action::compute : Action::reuse, .forced = compute};
  }

  int floor_, ceiling_;
  double power_;
  int allowed_ = 1000;               // before the governor speaks: everything
  std::map<int64_t, int> computed_;  // of the chunks in flight
};

}  // namespace

namespace reuse {

PolicyEntry<ReusePolicy> automatic() {
  return {.name = "auto",
          .summary = "as many computed steps as the deadline allows, placed as `ramp` places them",
          .threshold = 1,
          .options = with_prediction(
              {
                  count_option("floor", "computed steps a chunk that it never goes below", 3, 2),
                  count_option("ceiling", "computed steps a chunk that it never exceeds; 0: all steps", 0),
                  power_option(),
              },
              /*order=*/1, /*correct=*/1),
          .make = [](const Options& options) -> std::unique_ptr<ReusePolicy> {
            return predicted(std::make_unique<Automatic>(options.integer("floor"), options.integer("ceiling"),
                                                         options.number("power")),
                             options);
          }};
}

}  // namespace reuse
}  // namespace flowcache
