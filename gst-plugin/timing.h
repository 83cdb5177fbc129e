// SPDX-License-Identifier: LGPL-2.1-or-later
// Time: the pipeline's clock at one moment, the grid of presentation times, and waiting.
#pragma once

#include <gst/gst.h>

#include <functional>
#include <memory>
#include <optional>

namespace flowcache::gst {

/// An element's clock and base time at one moment. A pause may bring another clock and another base time, so
/// nobody keeps one of these over a wait. Any thread.
class PipelineClock {
 public:
  explicit PipelineClock(GstElement* element);
  ~PipelineClock() { gst_clear_object(&clock_); }
  PipelineClock(const PipelineClock&) = delete;
  PipelineClock& operator=(const PipelineClock&) = delete;

  /// Null before the element first plays, or in a pipeline without one. Not owned by the caller.
  GstClock* clock() const { return clock_; }
  /// What the clock says now; at least 0. Only with a clock. While the pipeline is paused it means nothing.
  GstClockTime running_time() const;
  /// The clock's time at a running time; the largest time there is rather than an overflow.
  GstClockTime time_at(GstClockTime running_time) const;

 private:
  GstClock* clock_ = nullptr;
  GstClockTime base_time_ = 0;
};

/// A running time with an offset: at least 0, and never GST_CLOCK_TIME_NONE.
GstClockTime shifted(GstClockTime running_time, GstClockTimeDiff offset);

/// The grid of presentation times: slot n starts at origin + n * fps_d / fps_n seconds, exactly, however long
/// the stream is. Where downstream wants a multiple of the rate, a slot has as many parts, of one buffer
/// each. Plain numbers; streaming thread only.
class Timeline {
 public:
  /// Forgets origin and slot; a slot has one part.
  void reset(guint fps_n, guint fps_d);

  bool anchored() const { return GST_CLOCK_TIME_IS_VALID(origin_); }
  /// The current slot starts at this running time; later slots follow on the grid. With a negative offset it
  /// starts no sooner than its timestamp is 0, so that no two timestamps are the same.
  void anchor(GstClockTime running_time);
  /// The grid begins at running time 0, or as soon after it as the offset allows; this slot is the current
  /// one.
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

  /// Leaves out the slots that began before this running time, and what is left of the current one. Returns
  /// how many slots are left out.
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

/// The one place where the streaming thread sleeps: until frames arrive, a time comes on the pipeline's
/// clock, or somebody interrupts. GstBaseSrc's own clock wait restarts the time grid at every pause and
/// cannot end early when a frame arrives, so the element waits by itself.
class Waiter {
 public:
  enum class Result {
    Ready,        ///< the predicate holds
    TimeReached,  ///< the clock got there; the predicate may hold too
    Interrupted,  ///< interrupt() until resume()
    Paused        ///< pause() until unpause(); only for waits with a deadline, which a pause makes stale
  };

  Waiter();
  ~Waiter();

  /// Streaming thread only. `ready` is called with the waiter's lock held and may take other locks, whose
  /// holders must not call this object. `deadline` is a time of `clock`; GST_CLOCK_TIME_NONE or no clock: no
  /// deadline. `pauses`: pauses() from before the deadline was computed. A pause since then has made the
  /// deadline stale, even if it is over.
  Result wait(const std::function<bool()>& ready, GstClock* clock, GstClockTime deadline, guint64 pauses);
  /// How many pauses there have been.
  guint64 pauses() const;

  /// Streaming thread only: pauses() as soon as no pause is on; nothing if interrupted.
  std::optional<guint64> wait_while_paused();

  /// Any thread: look at the predicate again.
  void notify();
  /// Any thread: waits end with Interrupted from now on / go on again.
  void interrupt();
  void resume();
  /// Any thread: waits with a deadline end with Paused from now on / go on again. A wait for frames alone
  /// goes on.
  void pause();
  void unpause();

 private:
  struct Shared;
  struct Alarm;
  std::shared_ptr<Shared> shared_;
};

}  // namespace flowcache::gst
