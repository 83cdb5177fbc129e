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

  // Computed steps of the chunks that begin from now on.
  int allowed() const { return allowed_; }
  // 0: full quality; grows by one for every step that the deadline costs.
  int level() const { return ceiling_ - allowed_; }

  // A chunk was finished. step_seconds: what one computed step took on average; other_seconds: the rest of
  // the chunk's time (reused steps, clean pass, decoding).
  void observe(double step_seconds, double other_seconds);
  // A new stream begins: start in the middle again, and forget what was measured.
  void reset();

 private:
  double foretold(int computed) const { return other_seconds_ + computed * step_seconds_; }

  int floor_, ceiling_, start_, allowed_ = 0;
  double deadline_ = 1;
  double step_seconds_ = 0, other_seconds_ = 0;  // smoothed; 0 before the first chunk
  int calm_ = 0;                                 // chunks in a row with room for one more step
  int patience_ = 0;                             // calm chunks needed for a rise
  int since_rise_ = 0;                           // chunks since the last rise
  bool risen_ = false;                           // the last change was a rise
};

}  // namespace flowcache
