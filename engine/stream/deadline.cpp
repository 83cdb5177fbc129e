// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/deadline.h"

#include <algorithm>

#include "base/error.h"

namespace flowcache {
namespace {

// The rest of the time is for other programs, such as an encoder or a player.
constexpr double share_of_playing_time = 0.8;

}  // namespace

DeadlineKeeper::DeadlineKeeper(ReusePolicy& policy, const Setup& setup)
    : policy_(policy), one_chunk_(setup.one_chunk), playing_seconds_(setup.playing_seconds) {
  if (const auto range = policy.governed(setup.steps); range.most > 0) {
    governor_ = std::make_unique<Governor>(range.fewest, range.most);
    follow();
    set(0);
  }
  if (setup.steers_threshold) {
    threshold_governor_ = std::make_unique<ThresholdGovernor>(setup.threshold, setup.steps);
    set(0);
  }
}

void DeadlineKeeper::set(double seconds) {
  if (!governor_ && !threshold_governor_)
    throw Error(FC_ERROR_ARGUMENT,
                "a deadline needs a reuse policy that it can steer: open the stream with cache=auto");
  if (!(seconds >= 0 && seconds <= 3600))
    throw Error(FC_ERROR_ARGUMENT, "deadline=" + std::to_string(seconds) +
                                       " s is outside 0..3600; 0 takes the model's own pace");
  seconds_ = seconds > 0 ? seconds : share_of_playing_time * playing_seconds_;
}

DeadlineReport DeadlineKeeper::report() const {
  const std::lock_guard lock(mutex_);
  return report_;
}

void DeadlineKeeper::rehearsed(double step_seconds, double other_seconds) {
  governor_->deadline(seconds_);
  governor_->expect(step_seconds, other_seconds);
  follow();
  rehearsed_ = true;
}

void DeadlineKeeper::step_computed(double step_seconds) {
  network_seconds_ += step_seconds;
  ++network_steps_;
  if (governor_) pace_ = Governor::follow(pace_, step_seconds);
}

// If several chunks are in flight, the time of one is spread over several calls. Then each chunk keeps the
// number of steps that it began with.
void DeadlineKeeper::adjust(const StepInfo& info, double spent) {
  if (!governor_ || !one_chunk_) return;
  governor_->deadline(seconds_);
  policy_.limit(info, governor_->affordable(spent, pace_));
}

void DeadlineKeeper::chunk_finished(int computed, double seconds) {
  const double step = network_seconds_ / std::max(1, network_steps_),
               other = std::max(0.0, seconds - network_seconds_);
  const bool measured = network_steps_ > 0;
  network_seconds_ = network_steps_ = 0;
  if (!measured) return;
  if (governor_) {
    governor_->deadline(seconds_);
    governor_->observe(step, other);
    follow();
  }
  if (!threshold_governor_) return;
  threshold_governor_->deadline(seconds_);
  threshold_governor_->observe(step, other, computed);
}

int DeadlineKeeper::level_of(int computed, int steps) const {
  return governor_ ? std::max(0, std::min(governor_->ceiling(), steps) - computed) : 0;
}

void DeadlineKeeper::restart() {
  network_seconds_ = network_steps_ = 0;
  if (governor_) {
    governor_->restart();
    follow();
  }
  if (threshold_governor_) threshold_governor_->reset();
  const std::lock_guard lock(mutex_);
  report_.level = 0;
}

// Applies the governor's number to the chunks that begin from now on.
void DeadlineKeeper::follow() {
  policy_.allow(governor_->allowed());
  pace_ = governor_->step_seconds();
  const std::lock_guard lock(mutex_);
  report_ = {governor_->level(), governor_->allowed(), governor_->least_seconds()};
}

}  // namespace flowcache
