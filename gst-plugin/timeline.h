// SPDX-License-Identifier: LGPL-2.1-or-later
// The grid of presentation times: slot n starts at origin + n * fps_d / fps_n seconds, exactly, however long
// the stream is. Where downstream wants a multiple of the rate, a slot has as many parts, of one buffer each.
// Plain numbers; streaming thread only.
#pragma once

#include <gst/gst.h>

namespace flowcache::gst {

/// A running time with an offset; not before 0, and never none.
GstClockTime shifted(GstClockTime running_time, GstClockTimeDiff offset);

class Timeline {
 public:
  /// Forgets origin and slot; a slot has one part.
  void reset(guint fps_n, guint fps_d);

  bool anchored() const { return GST_CLOCK_TIME_IS_VALID(origin_); }
  /// The current slot starts at this running time; later slots follow on the grid. A negative offset moves it
  /// to where the first timestamp is 0: none is before that, and no two are the same.
  void anchor(GstClockTime running_time);
  /// The grid begins at running time 0, as far as the offset lets it, and this slot is the current one.
  void go_to(guint64 slot);
  /// The next slot gets a new anchor (after a flush).
  void unanchor();
  /// From the next slot on a slot has this many parts, 1 or more.
  void set_parts(guint parts);
  /// Added to what buffers are stamped with; when frames are due does not move.
  void set_offset(GstClockTimeDiff offset) { offset_ = offset; }

  /// The current part of its slot, 0 for the one that a new frame begins with.
  guint part() const { return part_; }
  guint parts() const { return parts_; }
  /// How many parts came before the current one, in all slots.
  guint64 number() const { return slot_ * parts_ + part_; }
  /// The slot that begins next: the current one if none of its parts has gone out.
  guint64 next_slot() const { return slot_ + (part_ > 0 ? 1 : 0); }
  /// When the current part is due.
  GstClockTime pts() const { return time_of(slot_, part_); }
  /// The timestamp of its buffer; 0 before there is an anchor.
  GstClockTime stamp() const { return shifted(pts(), offset_); }
  GstClockTime stamp_of(guint64 slot) const { return shifted(time_of(slot, 0), offset_); }
  /// The slot during which this timestamp comes, on a grid that begins at 0.
  guint64 slot_at(GstClockTime stamp) const;
  /// Of the current part.
  GstClockTime duration() const { return time_of(slot_, part_ + 1) - pts(); }
  /// Of a slot.
  GstClockTime frame_duration() const;
  /// On to the next part.
  void advance();

  /// Leaves slots empty, and what is left of the current one, that began before this running time; returns
  /// how many.
  guint64 skip_to(GstClockTime running_time);
  /// Moves the grid so that the next slot starts at this running time, if the current part is due before it.
  void shift_to(GstClockTime running_time);

 private:
  GstClockTime time_of(guint64 slot, guint part) const;
  void end_slot();

  guint fps_n_ = 1, fps_d_ = 1;
  guint parts_ = 1, part_ = 0;
  guint64 slot_ = 0, anchor_slot_ = 0;
  GstClockTime origin_ = GST_CLOCK_TIME_NONE;
  GstClockTimeDiff offset_ = 0;
};

}  // namespace flowcache::gst
