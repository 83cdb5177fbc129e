// SPDX-License-Identifier: LGPL-2.1-or-later
#include "timeline.h"

#include <algorithm>

namespace flowcache::gst {
namespace {

/// How much an offset takes away; also right for the smallest number.
GstClockTime taken_by(GstClockTimeDiff offset) {
  return offset < 0 ? -static_cast<GstClockTime>(offset) : 0;
}

}  // namespace

GstClockTime shifted(GstClockTime running_time, GstClockTimeDiff offset) {
  const GstClockTime most = GST_CLOCK_TIME_NONE - 1, back = taken_by(offset);
  if (back > 0) return running_time > back ? running_time - back : 0;
  return running_time > most - static_cast<GstClockTime>(offset) ? most : running_time + offset;
}

void Timeline::reset(guint fps_n, guint fps_d) {
  *this = Timeline();
  fps_n_ = fps_n;
  fps_d_ = fps_d;
}

void Timeline::anchor(GstClockTime running_time) {
  origin_ = std::max(running_time, taken_by(offset_));
  anchor_slot_ = slot_;
}

void Timeline::unanchor() {
  end_slot();
  origin_ = GST_CLOCK_TIME_NONE;
}

void Timeline::set_parts(guint parts) {
  if (parts != parts_) end_slot();
  parts_ = parts;
}

void Timeline::end_slot() {
  slot_ = next_slot();
  part_ = 0;
}

void Timeline::advance() {
  if (++part_ == parts_) end_slot();
}

void Timeline::go_to(guint64 slot) {
  slot_ = part_ = 0;
  anchor(0);
  slot_ = slot;
}

GstClockTime Timeline::frame_duration() const {
  return gst_util_uint64_scale(GST_SECOND, fps_d_, fps_n_);
}

guint64 Timeline::slot_at(GstClockTime stamp) const {
  const GstClockTime ahead = offset_ > 0 ? static_cast<GstClockTime>(offset_) : 0;
  return stamp <= ahead ? 0 : gst_util_uint64_scale(stamp - ahead, fps_n_, GST_SECOND * fps_d_);
}

GstClockTime Timeline::time_of(guint64 slot, guint part) const {
  const guint64 number = (slot - anchor_slot_) * parts_ + part;
  const GstClockTime since =
      gst_util_uint64_scale(number, GST_SECOND * fps_d_, static_cast<guint64>(fps_n_) * parts_);
  return (anchored() ? origin_ : 0) + since;
}

guint64 Timeline::skip_to(GstClockTime running_time) {
  if (!anchored() || running_time <= pts()) return 0;
  end_slot();
  const guint64 next = slot_;
  slot_ = std::max(
      next, anchor_slot_ + gst_util_uint64_scale_ceil(running_time - origin_, fps_n_, GST_SECOND * fps_d_));
  return slot_ - next;
}

void Timeline::shift_to(GstClockTime running_time) {
  if (!anchored() || running_time <= pts()) return;
  end_slot();
  anchor(running_time);
}

}  // namespace flowcache::gst
