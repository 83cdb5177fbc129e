// SPDX-License-Identifier: LGPL-2.1-or-later
#include "speed_watch.h"

namespace flowcache::gst {

void SpeedWatch::reset(double playing_seconds) {
  *this = SpeedWatch();
  playing_seconds_ = playing_seconds;
}

bool SpeedWatch::add(double seconds, double least_seconds) {
  const bool slow = seconds > playing_seconds_ && (least_seconds == 0 || least_seconds > playing_seconds_);
  slow_ = slow ? slow_ + 1 : 0;
  in_time_ = slow ? 0 : in_time_ + 1;
  if (in_time_ >= kRecovery) said_ = false;
  if (said_ || slow_ < kPatience) return false;
  return said_ = true;
}

}  // namespace flowcache::gst
