// SPDX-License-Identifier: LGPL-2.1-or-later
// How long computed steps take. On a CPU a step is done when its call returns. A GPU is given steps ahead of time, so
// marks stand before and behind each, and its time is known once the GPU has come past them; nobody waits for it.
#pragma once

#include <ATen/ATen.h>

#include <deque>
#include <vector>

#include "base/stopwatch.h"
#include "stream/lane.h"

namespace flowcache {

// Driving thread only.
class StepTimer {
 public:
  explicit StepTimer(at::Device device) : device_(device) {}

  // A chunk's first step is next.
  void begin_chunk();
  void begin_step();
  void end_step();  // not called if the step throws

  // Seconds of each step that was finished since the last call, in order.
  std::vector<double> finished();
  // Steps that the device has not come past yet.
  int pending() const { return static_cast<int>(pending_.size()); }
  // Of the chunk that begin_chunk() began: the device's time from its first step to the end of its last one that was
  // finished. 0 on a CPU.
  double device_seconds() const { return device_seconds_; }
  // Forgets all steps.
  void restart();

 private:
  struct Timed {
    Mark begin, end;
    double seconds = 0;
    bool first = false;  // of its chunk
  };

  at::Device device_;
  Stopwatch watch_;
  Mark begin_;
  bool first_ = true;
  std::deque<Timed> pending_;
  Mark chunk_begin_;
  double device_seconds_ = 0;
};

}  // namespace flowcache
