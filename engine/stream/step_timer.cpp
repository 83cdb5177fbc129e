// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/step_timer.h"

namespace flowcache {

void StepTimer::begin_chunk() {
  first_ = true;
  device_seconds_ = 0;
}

void StepTimer::begin_step() {
  begin_ = Mark::here(device_, /*timed=*/true);
  watch_ = Stopwatch();
}

void StepTimer::end_step() {
  const double seconds = watch_.seconds();
  pending_.push_back({begin_, Mark::here(device_, /*timed=*/true), seconds, first_});
  first_ = false;
}

std::vector<double> StepTimer::finished() {
  std::vector<double> seconds;
  for (; !pending_.empty() && pending_.front().end.reached(); pending_.pop_front()) {
    const Timed& step = pending_.front();
    seconds.push_back(device_.is_cuda() ? Mark::seconds(step.begin, step.end) : step.seconds);
    if (step.first) chunk_begin_ = step.begin;
    device_seconds_ = Mark::seconds(chunk_begin_, step.end);
  }
  return seconds;
}

void StepTimer::restart() {
  pending_.clear();
  begin_chunk();
}

}  // namespace flowcache
