// SPDX-License-Identifier: LGPL-2.1-or-later
// Deadline -> how many of a chunk's steps may run the network.
//
// Falls at once when the next chunk would be late, rises one step at a time and only after several chunks
// with room to spare; a rise that had to be taken back makes the next one wait longer. So a steady load ends
// at a steady number.
#pragma once

#include <cstdint>

namespace flowcache {

class Governor {
 public:
  // 1 <= floor <= ceiling: the fewest and the most computed steps a chunk. start: as many while nothing is
  // known yet; 0: twice the fewest, which is fair quality and soon there.
  Governor(int floor, int ceiling, int start = 0);

  // Seconds a chunk may take from now on; > 0.
  void deadline(double seconds) { deadline_ = seconds; }
  double deadline() const { return deadline_; }

  // Before the first chunk: what a computed step and the rest of a chunk take, as timed beforehand. The first
  // chunk computes as many steps as fit with room.
  void expect(double step_seconds, double other_seconds);
  // Computed steps of the chunks that begin from now on.
  int allowed() const { return allowed_; }
  int ceiling() const { return ceiling_; }
  // 0: full quality; grows by one for every step that the deadline costs.
  int level() const { return ceiling_ - allowed_; }

  // In a chunk that has taken `spent` seconds, and whose computed steps now take `step_seconds` each: how
  // many more fit, so that what follows them still does. What slows a step slows the rest alike. May be
  // negative.
  int affordable(double spent, double step_seconds) const;
  // One more measurement of a step in an estimate of what steps take: a rising time is followed by half, a
  // falling one by a fifth, so that one slow step or chunk does not cost half the quality, and a slow machine
  // does, soon.
  static double follow(double estimate, double measured);
  // Expected seconds of a step; 0 before anything was measured.
  double step_seconds() const { return step_seconds_; }
  // Expected seconds of a chunk that computes the fewest steps; 0 before anything was measured.
  double least_seconds() const { return step_seconds_ > 0 ? predicted(floor_) : 0; }

  // A chunk was finished. step_seconds: what one computed step took on average; other_seconds: the rest of
  // the chunk's time (reused steps, clean pass, decoding).
  void observe(double step_seconds, double other_seconds);
  // A new stream begins on the same machine: what was measured still holds.
  void restart();

 private:
  double predicted(int computed) const { return other_seconds_ + computed * step_seconds_; }
  int within(double seconds) const;

  int floor_, ceiling_, start_, allowed_ = 0;
  double deadline_ = 1;
  double step_seconds_ = 0, other_seconds_ = 0;  // smoothed; 0 before the first chunk
  int calm_ = 0;                                 // chunks in a row with room for one more step
  int patience_ = 0;                             // calm chunks needed for a rise
  int since_rise_ = 0;                           // chunks since the last rise
  bool risen_ = false;                           // the last change was a rise
};

}  // namespace flowcache
