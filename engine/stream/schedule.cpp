// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/schedule.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace flowcache {

Schedule::Schedule(int steps, int lag, int first_steps)
    : steps_(steps), lag_(lag), first_steps_(first_steps == 0 ? steps : first_steps) {
  if (steps < 1 || steps > 1000)
    throw Error(FC_ERROR_ARGUMENT, "steps=" + std::to_string(steps) + " is outside 1..1000");
  if (lag < 1 || lag > steps)
    throw Error(FC_ERROR_ARGUMENT, "lag=" + std::to_string(lag) + " is outside 1..steps (" +
                                       std::to_string(steps) +
                                       "): a larger lag would leave ticks without work");
  if (first_steps_ < 1 || first_steps_ > 1000)
    throw Error(FC_ERROR_ARGUMENT,
                "the first chunk's steps=" + std::to_string(first_steps_) + " are outside 1..1000");
  if (first_steps_ != steps && lag != steps)
    throw Error(FC_ERROR_ARGUMENT, "lag=" + std::to_string(lag) + ": this model's first chunk takes " +
                                       std::to_string(first_steps_) + " steps and the others " +
                                       std::to_string(steps) +
                                       ", so one chunk runs after the other; leave lag at 0");
}

std::vector<ScheduledStep> Schedule::tick(int64_t tick) const {
  if (first_steps_ != steps_) {
    if (tick < first_steps_) return {{0, static_cast<int>(tick)}};
    tick += steps_ - first_steps_;  // as if chunk 0 had had as many steps as the others
  }
  std::vector<ScheduledStep> due;
  const int64_t newest = tick / lag_;
  for (int64_t chunk = std::max<int64_t>(0, newest - chunks_in_flight()); chunk <= newest; ++chunk) {
    const int64_t step = tick - chunk * lag_;
    if (step < steps_) due.push_back({chunk, static_cast<int>(step)});
  }
  return due;
}

int Schedule::chunks_in_flight() const {
  return (steps_ + lag_ - 1) / lag_;
}

}  // namespace flowcache
