// SPDX-License-Identifier: LGPL-2.1-or-later
// This project's own policy: `ramp` with as many computed steps as the deadline allows. The stream's governor
// measures the times and decides. A chunk begins with the number that is allowed then, and changes to a ramp
// of fewer steps if the machine becomes slower.
#include <algorithm>
#include <map>

#include "cache/reuse/predictor.h"
#include "cache/reuse/ramp.h"

namespace flowcache {
namespace {

class Automatic final : public PerChunkPolicy {
 public:
  Automatic(int floor, int ceiling, Ramp ramp) : floor_(floor), ceiling_(ceiling), ramp_(ramp) {}
  Tap taps() const override { return Tap::none; }
  ReuseKind kind() const override { return ReuseKind::velocity; }

  Range governed(int steps) const override {
    const int most = ceiling_ == 0 ? steps : std::min(ceiling_, steps);
    return {std::min(floor_, most), most};
  }
  void allow(int computed) override { ramp_.computed = computed; }
  void limit(const StepInfo& done, int more) override {
    const auto own = ramps_.find(done.chunk);
    if (own == ramps_.end()) return;
    Ramp& ramp = own->second;
    const int fewest = governed(done.steps).fewest;
    while (ramp.computed > fewest && ramp.left(done) > more) --ramp.computed;
  }

  void end_chunk(int64_t chunk) override { ramps_.erase(chunk); }
  void reset() override { ramps_.clear(); }
  uint64_t state_bytes() const override { return 0; }

 private:
  Decision decide_one(const ChunkStep& step, double threshold) override {
    const StepInfo& info = step.info;
    const auto [own, first] = ramps_.try_emplace(info.chunk, ramp_);
    const bool compute = !(threshold > 0) || info.must_compute || first || own->second.computes(info);
    return {.action = compute ? Action::compute : Action::reuse, .forced = compute};
  }

  int floor_, ceiling_;
  Ramp ramp_;
  std::map<int64_t, Ramp> ramps_;  // the ramp of each chunk in flight
};

}  // namespace

namespace reuse {

PolicyEntry<ReusePolicy> automatic() {
  return {
      .name = "auto",
      .summary = "as many computed steps as the deadline allows, placed as `ramp` places them",
      .threshold = 1,
      .options = with_prediction(
          with_ramp({
              {.name = "by",
               .help = "what the deadline steers: the number of computed steps, or the threshold of one of "
                       "these policies",
               .words = {"steps", "flowcache", "teacache", "easycache", "magcache", "forecast", "dbcache"}},
              count_option("floor", "least number of computed steps of a chunk", 3, 2),
              count_option("ceiling", "largest number of computed steps of a chunk; 0: all steps", 0),
          }),
          /*order=*/1, /*correct=*/1),
      .make = [](const Options& options) -> std::unique_ptr<ReusePolicy> {
        constexpr int everything = 1000;  // compute all steps until the governor has set a number
        return predicted(std::make_unique<Automatic>(options.integer("floor"), options.integer("ceiling"),
                                                     ramp_of(options, everything)),
                         options);
      }};
}

}  // namespace reuse
}  // namespace flowcache
