// SPDX-License-Identifier: LGPL-2.1-or-later
// A deadline for each chunk, for the policies that one steers: by the number of steps that they compute, or by the
// threshold ε of one that decides by distances.
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
  int level = 0;             // computed steps that the deadline has cost; 0: full quality
  int steps_allowed = 0;     // of the chunks that begin now; 0: not steered by their number
  double least_seconds = 0;  // expected of a chunk of the fewest computed steps; 0: as above
};

// The calls not marked "any thread" come from the driving one. Where nothing is steered they do nothing.
class DeadlineKeeper {
 public:
  struct Setup {
    int steps = 1;               // of a chunk
    bool one_chunk = true;       // no others in flight beside it
    double playing_seconds = 0;  // how long a chunk is watched
    bool steers_threshold = false;
    double threshold = 0;
  };
  // policy: outlives this.
  DeadlineKeeper(ReusePolicy& policy, const Setup& setup);

  bool steers_steps() const { return governor_ != nullptr; }
  bool steers_threshold() const { return threshold_governor_ != nullptr; }

  // 0: most of the time that a chunk plays. Throws FC_ERROR_ARGUMENT if nothing is steered, and for nonsense. Any thread.
  void set(double seconds);
  double seconds() const { return seconds_; }  // any thread
  DeadlineReport report() const;               // any thread

  // What a computed step and the rest of a chunk take, timed before the first chunk: asked for once.
  bool wants_rehearsal() const { return governor_ && !rehearsed_; }
  void rehearsed(double step_seconds, double other_seconds);

  // After a computed step, of a chunk that has taken `spent` seconds: one that has become too slow on the way gives up
  // steps to come.
  void step_computed(const StepInfo& info, double step_seconds, double spent);
  // After a chunk that computed so many steps and took so many seconds.
  void chunk_finished(int computed, double seconds);
  // ε from now on. Only if steers_threshold().
  double threshold() const { return threshold_governor_->threshold(); }
  // Steps that the deadline has cost a chunk that computed so many.
  int level_of(int computed) const;
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
  double pace_ = 0;  // what a computed step of the chunk at work is expected to take; 0: not known yet
  std::atomic<double> seconds_{0};
  mutable std::mutex mutex_;
  DeadlineReport report_;  // guarded by mutex_
};

}  // namespace flowcache
