// SPDX-License-Identifier: LGPL-2.1-or-later
// Whether a machine is too slow for a stream, however little it computes. Plain numbers; one thread at a
// time.
#pragma once

namespace flowcache::gst {

/// Says so once for a slow spell: as soon as some chunks in a row took longer than they play although there
/// was nothing left to leave out, and again only after many were in time.
class SpeedWatch {
 public:
  static constexpr int kPatience = 4;   ///< slow chunks in a row
  static constexpr int kRecovery = 16;  ///< chunks in a row that were not, before it is said again

  /// playing_seconds: how long a chunk plays. Forgets what was.
  void reset(double playing_seconds);
  /// A chunk took `seconds`; the least that one can take is `least_seconds`, 0 where nothing is left out to
  /// keep the time. True if it is time to say so.
  bool add(double seconds, double least_seconds);
  double playing_seconds() const { return playing_seconds_; }

 private:
  double playing_seconds_ = 0;
  int slow_ = 0, in_time_ = 0;
  bool said_ = false;
};

}  // namespace flowcache::gst
