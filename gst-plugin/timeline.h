// SPDX-License-Identifier: LGPL-2.1-or-later
// The grid of presentation times: slot n starts at origin + n * fps_d / fps_n seconds, exactly, however long
// the stream is. Plain numbers; streaming thread only.
#pragma once

#include <gst/gst.h>

namespace flowcache::gst {

/// A running time with an offset; not before 0, and never none.
GstClockTime shifted(GstClockTime running_time, GstClockTimeDiff offset);

class Timeline {
 public:
  /// Forgets origin and slot.
  void reset(guint fps_n, guint fps_d);

  bool anchored() const { return GST_CLOCK_TIME_IS_VALID(origin_); }
  /// The current slot starts at this running time; later slots follow on the grid. A negative offset moves it
  /// to where the first timestamp is 0: none is before that, and no two are the same.
  void anchor(GstClockTime running_time);
  /// The grid begins at running time 0, as far as the offset lets it, and this slot is the current one.
  void go_to(guint64 slot);
  /// The next slot gets a new anchor (after a flush).
  void unanchor() { origin_ = GST_CLOCK_TIME_NONE; }
  /// Added to what buffers are stamped with; when frames are due does not move.
  void set_offset(GstClockTimeDiff offset) { offset_ = offset; }

  guint64 slot() const { return slot_; }
  /// When the current slot is due.
  GstClockTime pts() const { return time_of(slot_); }
  /// The timestamp of its buffer; 0 before there is an anchor.
  GstClockTime stamp() const { return stamp_of(slot_); }
  GstClockTime stamp_of(guint64 slot) const { return shifted(time_of(slot), offset_); }
  /// The slot during which this timestamp comes, on a grid that begins at 0.
  guint64 slot_at(GstClockTime stamp) const;
  GstClockTime duration() const { return time_of(slot_ + 1) - time_of(slot_); }
  GstClockTime frame_duration() const;
  void advance() { ++slot_; }

  /// Leaves slots empty that began before this running time; returns how many.
  guint64 skip_to(GstClockTime running_time);
  /// Moves the grid so that the current slot starts at this running time, if that is later.
  void shift_to(GstClockTime running_time);

 private:
  GstClockTime time_of(guint64 slot) const;

  guint fps_n_ = 1, fps_d_ = 1;
  guint64 slot_ = 0, anchor_slot_ = 0;
  GstClockTime origin_ = GST_CLOCK_TIME_NONE;
  GstClockTimeDiff offset_ = 0;
};

}  // namespace flowcache::gst
