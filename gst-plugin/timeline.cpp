// SPDX-License-Identifier: LGPL-2.1-or-later
#include "timeline.h"

namespace flowcache::gst {

void Timeline::reset(guint fps_n, guint fps_d) {
  *this = Timeline();
  fps_n_ = fps_n;
  fps_d_ = fps_d;
}

void Timeline::anchor(GstClockTime running_time) {
  origin_ = running_time;
  anchor_slot_ = slot_;
}

GstClockTime Timeline::frame_duration() const {
  return gst_util_uint64_scale(GST_SECOND, fps_d_, fps_n_);
}

GstClockTime Timeline::stamp() const {
  const GstClockTime due = pts(), most = GST_CLOCK_TIME_NONE - 1;
  if (offset_ >= 0) return due > most - static_cast<GstClockTime>(offset_) ? most : due + offset_;
  const GstClockTime back = -static_cast<GstClockTime>(offset_);  // also right for the smallest number
  return due > back ? due - back : 0;
}

GstClockTime Timeline::time_of(guint64 slot) const {
  const GstClockTime since = gst_util_uint64_scale(slot - anchor_slot_, GST_SECOND * fps_d_, fps_n_);
  return (anchored() ? origin_ : 0) + since;
}

guint64 Timeline::skip_to(GstClockTime running_time) {
  if (!anchored() || running_time <= pts()) return 0;
  const guint64 before = slot_;
  slot_ = anchor_slot_ + gst_util_uint64_scale_ceil(running_time - origin_, fps_n_, GST_SECOND * fps_d_);
  return slot_ - before;
}

void Timeline::shift_to(GstClockTime running_time) {
  if (anchored() && running_time > pts()) anchor(running_time);
}

}  // namespace flowcache::gst
