// SPDX-License-Identifier: LGPL-2.1-or-later
// The grid of presentation times: slot n starts at origin + n * fps_d / fps_n seconds, exactly, however long
// the stream is. Plain numbers; streaming thread only.
#pragma once

#include <gst/gst.h>

namespace flowcache::gst {

class Timeline {
 public:
  /// Forgets origin and slot.
  void reset(guint fps_n, guint fps_d);

  bool anchored() const { return GST_CLOCK_TIME_IS_VALID(origin_); }
  /// The current slot starts at this running time; later slots follow on the grid.
  void anchor(GstClockTime running_time);
  /// The next slot gets a new anchor (after a flush).
  void unanchor() { origin_ = GST_CLOCK_TIME_NONE; }
  /// Added to what buffers are stamped with; when frames are due does not move.
  void set_offset(GstClockTimeDiff offset) { offset_ = offset; }

  guint64 slot() const { return slot_; }
  /// When the current slot is due.
  GstClockTime pts() const { return time_of(slot_); }
  /// The timestamp of its buffer; not before 0.
  GstClockTime stamp() const;
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
