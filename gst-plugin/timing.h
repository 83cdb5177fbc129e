// SPDX-License-Identifier: LGPL-2.1-or-later
// Time: the pipeline's clock at one moment, the grid of presentation times, and waiting.
#pragma once

#include <gst/gst.h>

#include <functional>
#include <memory>
#include <optional>

namespace flowcache::gst {

// An element's clock and base time at one moment. A pause may change both, so an object must not be kept
// over a wait. Any thread.
class PipelineClock {
 public:
  explicit PipelineClock(GstElement* element);
  ~PipelineClock() { gst_clear_object(&clock_); }
  PipelineClock(const PipelineClock&) = delete;
  PipelineClock& operator=(const PipelineClock&) = delete;

  // Null before the element first plays, and in a pipeline without a clock. Not owned by the caller.
  GstClock* clock() const { return clock_; }
  // The running time now, at least 0. Only if there is a clock. It means nothing while the pipeline is
  // paused.
  GstClockTime running_time() const;
  // The clock's time at a running time. An overflow gives the largest possible time.
  GstClockTime time_at(GstClockTime running_time) const;

 private:
  GstClock* clock_ = nullptr;
  GstClockTime base_time_ = 0;
};

// A running time plus an offset; at least 0, and never GST_CLOCK_TIME_NONE.
GstClockTime shifted(GstClockTime running_time, GstClockTimeDiff offset);

// The grid of presentation times. Slot n starts at origin + n * fps_d / fps_n seconds, exactly, however long
// the stream is. If downstream wants a multiple of the rate, a slot has that many parts, of one buffer each.
// Plain numbers; streaming thread only.
class Timeline {
 public:
  // Forgets origin and slot; a slot has one part.
  void reset(guint fps_n, guint fps_d);

  bool anchored() const { return GST_CLOCK_TIME_IS_VALID(origin_); }
  // The current slot starts at this running time, and later slots follow on the grid. With a negative offset
  // it starts when its timestamp is at least 0, so that no two timestamps are the same.
  void anchor(GstClockTime running_time);
  // The grid begins at running time 0, or as soon after it as the offset allows, and this slot becomes the
  // current one.
  void go_to(guint64 slot);
  // The next slot needs a new anchor (after a flush).
  void unanchor();
  // From the next slot on, a slot has this many parts, at least 1.
  void set_parts(guint parts);
  // Is added to the timestamps of buffers. It does not change when frames are due.
  void set_offset(GstClockTimeDiff offset) { offset_ = offset; }

  // Number of the current part in its slot; a new frame begins with part 0.
  guint part() const { return part_; }
  guint parts() const { return parts_; }
  // Number of parts before the current one, in all slots.
  guint64 number() const { return slot_ * parts_ + part_; }
  // The next slot that begins; this is the current one if none of its parts has been pushed.
  guint64 next_slot() const { return slot_ + (part_ > 0 ? 1 : 0); }
  // The running time at which the current part is due.
  GstClockTime pts() const { return time_of(slot_, part_); }
  // The timestamp of its buffer; 0 before there is an anchor.
  GstClockTime stamp() const { return shifted(pts(), offset_); }
  GstClockTime stamp_of(guint64 slot) const { return shifted(time_of(slot, 0), offset_); }
  // The slot that contains this timestamp, on a grid that begins at 0.
  guint64 slot_at(GstClockTime stamp) const;
  // The duration of the current part.
  GstClockTime duration() const { return time_of(slot_, part_ + 1) - pts(); }
  // The duration of a slot.
  GstClockTime frame_duration() const;
  // Goes on to the next part.
  void advance();

  // Leaves out the slots that began before this running time, and the rest of the current one. Returns how
  // many slots were left out.
  guint64 skip_to(GstClockTime running_time);
  // Moves the grid so that the next slot starts at this running time, if the current part is due before it.
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

// The only place where the streaming thread sleeps: until frames arrive, until a time on the pipeline's
// clock, or until it is interrupted. GstBaseSrc's own wait restarts the time grid at every pause and cannot
// end early when a frame arrives, so the element waits itself.
class Waiter {
 public:
  enum class Result {
    Ready,        // the predicate holds
    TimeReached,  // the clock has reached the deadline; the predicate may hold, too
    Interrupted,  // between interrupt() and resume()
    Paused        // between pause() and unpause(); only waits with a deadline, which a pause makes invalid
  };

  Waiter();
  ~Waiter();

  // Streaming thread only. `ready` is called with the waiter's lock held. It may take other locks, whose
  // holders must not call this object. `deadline` is a time of `clock`; GST_CLOCK_TIME_NONE or no clock
  // means no deadline. `pauses` is the value of pauses() from before the deadline was computed; a pause
  // since then makes the deadline invalid, even if it is over.
  Result wait(const std::function<bool()>& ready, GstClock* clock, GstClockTime deadline, guint64 pauses);
  // The number of pauses so far.
  guint64 pauses() const;

  // Streaming thread only: waits until no pause is on, then returns pauses(); nothing if interrupted.
  std::optional<guint64> wait_while_paused();

  // Any thread: makes the waiter check its predicate again.
  void notify();
  // Any thread. After interrupt() all waits end with Interrupted, until resume().
  void interrupt();
  void resume();
  // Any thread. After pause() waits with a deadline end with Paused, until unpause(). Waits only for frames
  // continue.
  void pause();
  void unpause();

 private:
  struct Shared;
  struct Alarm;
  std::shared_ptr<Shared> shared_;
};

}  // namespace flowcache::gst
