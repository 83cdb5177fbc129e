// SPDX-License-Identifier: LGPL-2.1-or-later
// Which chunk runs which step when. One rule for every model: a chunk starts `lag` ticks after the one before
// it and takes N steps.
//
//   Self-Forcing   lag = N      one chunk in flight
//   MAGI-1         lag = N/4    a window of four
//   SkyReels-V2    lag = ar_step
//
// Chunk c runs its step s in tick c·lag + s. There is no last chunk. Where chunks run one after the other, the first one
// may have another number of steps, as Causal-Forcing++ has it; the others then begin when it is done.
#pragma once

#include <cstdint>
#include <vector>

namespace flowcache {

struct ScheduledStep {
  int64_t chunk = 0;
  int step = 0;
  bool operator==(const ScheduledStep&) const = default;
};

class Schedule {
 public:
  // steps: 1..1000; lag: 1..steps. first_steps: those of chunk 0, 0..1000; 0: as many; another number needs
  // lag = steps. Throws FC_ERROR_ARGUMENT.
  Schedule(int steps, int lag, int first_steps = 0);

  // The steps of tick number `tick` >= 0, oldest chunk first. Never empty.
  std::vector<ScheduledStep> tick(int64_t tick) const;
  // Largest number of chunks in flight: ceil(steps / lag).
  int chunks_in_flight() const;
  int steps() const { return steps_; }  // of every chunk but the first
  int steps_of(int64_t chunk) const { return chunk == 0 ? first_steps_ : steps_; }
  int lag() const { return lag_; }

 private:
  int steps_, lag_, first_steps_;
};

}  // namespace flowcache
