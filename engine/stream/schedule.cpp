// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/schedule.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace flowcache {

Schedule::Schedule(int steps, int lag) : steps_(steps), lag_(lag) {
  if (steps < 1 || steps > 1000)
    throw Error(FC_ERROR_ARGUMENT, "steps=" + std::to_string(steps) + " is outside 1..1000");
  if (lag < 1 || lag > steps)
    throw Error(FC_ERROR_ARGUMENT, "lag=" + std::to_string(lag) + " is outside 1..steps (" +
                                       std::to_string(steps) +
                                       "): a larger lag would leave ticks without work");
}

std::vector<ScheduledStep> Schedule::tick(int64_t tick) const {
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
