// SPDX-License-Identifier: LGPL-2.1-or-later
// Decides from a deadline how many of a chunk's steps may run the network.
//
// The number falls at once if the next chunk would be late. It rises only after several chunks with time to spare, by half of
// what there is time for, so that quality is back some chunks after a load has gone. If a rise had to be undone, the next
// one takes longer. So a steady load leads to a steady number.
#pragma once

#include <cstdint>

namespace flowcache {

class Governor {
 public:
  // 1 <= floor <= ceiling: least and largest number of computed steps of a chunk. start: the number until
  // times are known; 0: twice the floor, which gives fair quality and is computed quickly.
  Governor(int floor, int ceiling, int start = 0);

  // Seconds that a chunk may take from now on; > 0.
  void deadline(double seconds) { deadline_ = seconds; }
  double deadline() const { return deadline_; }

  // Times of a computed step and of the rest of a chunk, measured before the first chunk. The first chunk
  // then computes as many steps as fit with room to spare.
  void expect(double step_seconds, double other_seconds);
  // Number of computed steps of the chunks that begin from now on.
  int allowed() const { return allowed_; }
  int ceiling() const { return ceiling_; }
  // Number of computed steps that the deadline costs; 0: full quality.
  int level() const { return ceiling_ - allowed_; }

  // For a chunk that has taken `spent` seconds and whose computed steps now take `step_seconds` each: how
  // many more computed steps fit, with the rest of the chunk after them. If steps have become slower, the
  // rest is expected to be slower by the same factor. -1 if not even the rest fits.
  int affordable(double spent, double step_seconds) const;
  // Updates an estimate with a new measurement. The estimate moves by half of the difference if the time has
  // risen, by a fifth if it has fallen. So one slow step does not cost half the quality, but a slow machine
  // soon has its effect.
  static double follow(double estimate, double measured);
  // Expected seconds of a computed step; 0 before anything was measured.
  double step_seconds() const { return step_seconds_; }
  // Expected seconds of a chunk that computes the fewest steps; 0 before anything was measured.
  double least_seconds() const { return step_seconds_ > 0 ? predicted(floor_) : 0; }

  // A chunk was finished. step_seconds: mean time of its computed steps; other_seconds: the rest of its time
  // (reused steps, clean pass, decoding).
  void observe(double step_seconds, double other_seconds);
  // A new stream begins on the same machine. What was measured is kept.
  void restart();

 private:
  double predicted(int computed) const { return other_seconds_ + computed * step_seconds_; }
  int within(double seconds) const;

  int floor_, ceiling_, start_, allowed_ = 0;
  double deadline_ = 1;
  double step_seconds_ = 0, other_seconds_ = 0;  // estimates; 0 before the first measurement
  int calm_ = 0;                                 // chunks in a row with time for one more computed step
  int patience_ = 0;                             // such chunks that a rise needs
  int since_rise_ = 0;                           // chunks since the last rise
  bool risen_ = false;                           // the last change was a rise
};

}  // namespace flowcache
