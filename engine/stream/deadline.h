// SPDX-License-Identifier: LGPL-2.1-or-later
// Keeps a deadline for each chunk, with policies that can be steered: by the number of steps that they
// compute, or, if they decide by distances, by their threshold ε.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "cache/reuse/reuse_policy.h"
#include "stream/governor.h"
#include "stream/threshold_governor.h"

namespace flowcache {

struct DeadlineReport {
  int level = 0;             // number of computed steps that the deadline costs a chunk; 0: full quality
  int steps_allowed = 0;     // computed steps of the chunks that begin now; 0: the number is not steered
  double least_seconds = 0;  // expected time of a chunk with the fewest computed steps; 0: as above
};

// Calls come from the driving thread, except those marked "any thread". If nothing is steered, they do
// nothing.
class DeadlineKeeper {
 public:
  struct Setup {
    int steps = 1;               // steps of a chunk
    bool one_chunk = true;       // only one chunk is in flight at a time
    double playing_seconds = 0;  // how long the frames of a chunk are shown
    bool steers_threshold = false;
    double threshold = 0;
  };
  // `policy` outlives this.
  DeadlineKeeper(ReusePolicy& policy, const Setup& setup);

  bool steers_steps() const { return governor_ != nullptr; }
  bool steers() const { return governor_ || threshold_governor_; }
  bool steers_threshold() const { return threshold_governor_ != nullptr; }

  // Sets the deadline. 0: most of the time that a chunk is shown. Throws FC_ERROR_ARGUMENT if nothing is
  // steered, or if `seconds` is outside 0..3600. Any thread.
  void set(double seconds);
  double seconds() const { return seconds_; }  // any thread
  DeadlineReport report() const;               // any thread

  // True until rehearsed() has been called with the times of a computed step and of the rest of a chunk,
  // measured before the first chunk.
  bool wants_rehearsal() const { return governor_ && !rehearsed_; }
  void rehearsed(double step_seconds, double other_seconds);

  // It is known now that a computed step took this long.
  void step_computed(double step_seconds);
  // The step `info` was the last that was begun of a chunk that has taken `spent` seconds when it is done. If the chunk
  // has become too slow, it gives up computed steps to come.
  void adjust(const StepInfo& info, double spent);
  // Expected time of a computed step; 0: not yet known.
  double step_seconds() const { return pace_; }
  // A chunk was finished that computed this many steps and took this many seconds.
  void chunk_finished(int computed, double seconds);
  // ε from now on. Only if steers_threshold().
  double threshold() const { return threshold_governor_->threshold(); }
  // How many computed steps the deadline has cost a chunk that computed this many of its steps.
  int level_of(int computed, int steps) const;
  // A new stream begins on the same machine.
  void restart();

 private:
  void follow();

  ReusePolicy& policy_;
  bool one_chunk_;
  double playing_seconds_;
  // At most one of the two.
  std::unique_ptr<Governor> governor_;
  std::unique_ptr<ThresholdGovernor> threshold_governor_;
  bool rehearsed_ = false;
  double network_seconds_ = 0;  // spent in computed steps since the last chunk was finished
  int network_steps_ = 0;
  double pace_ = 0;  // expected time of a computed step of the current chunk; 0: not yet known
  std::atomic<double> seconds_{0};
  mutable std::mutex mutex_;
  DeadlineReport report_;  // guarded by mutex_
};

}  // namespace flowcache
