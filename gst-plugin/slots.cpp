// SPDX-License-Identifier: LGPL-2.1-or-later
#include <memory>
#include <utility>

#include "engine.h"
#include "messages.h"
#include "streaming.h"
#include "timing.h"

namespace flowcache::gst {
namespace {

constexpr GstClockTime kGap = 100 * GST_MSECOND;  // time between GAP events

// The running time now; 0 without a clock. It has a meaning only while the pipeline plays, so this waits for
// the end of a pause. Nothing if interrupted.
std::optional<GstClockTime> running_time(const Turn& turn) {
  const Waiter& waiter = turn.state.waiter;
  while (true) {
    const std::optional<guint64> pauses = turn.state.waiter.wait_while_paused();
    if (!pauses) return std::nullopt;
    const PipelineClock clock(GST_ELEMENT(turn.source));
    const GstClockTime now = clock.clock() == nullptr ? 0 : clock.running_time();
    if (waiter.pauses() == *pauses) return now;
  }
}

void report_underrun(Turn& turn, guint64 skipped, GstClockTime stamp, GstClockTime late) {
  turn.state.statistics.underrun(skipped);
  GST_DEBUG_OBJECT(turn.source, "underrun at %" GST_TIME_FORMAT ", %" GST_TIME_FORMAT " late",
                   GST_TIME_ARGS(stamp), GST_TIME_ARGS(late));
  post_underrun(GST_ELEMENT(turn.source), stamp, turn.state.timeline.frame_duration(), late,
                turn.state.statistics.snapshot());
}

// Makes sure that nothing is due before this running time: slots are left out, or with `stall` the grid
// moves. Returns how many slots were left out.
guint64 move_grid(Turn& turn, GstClockTime now) {
  SourceState& state = turn.state;
  guint64 skipped = 0;
  if (turn.setting(&Settings::underrun) == Underrun::Stall) {
    state.timeline.shift_to(now);
  } else {
    skipped = state.timeline.skip_to(now);
    state.discont = state.discont || skipped > 0;
  }
  follow_grid(turn);
  return skipped;
}

// Sends a GAP event from `begin` on, of this length. A segment must come before the first gap, but the base
// class sends it only with the first buffer.
void send_gap(Turn& turn, GstClockTime begin, GstClockTime length) {
  GstPad* pad = GST_BASE_SRC_PAD(turn.source);
  if (!std::exchange(turn.state.gaps_begun, true)) {
    GstSegment segment;
    gst_segment_init(&segment, GST_FORMAT_TIME);
    gst_pad_push_event(pad, gst_event_new_segment(&segment));
  }
  gst_pad_push_event(pad, gst_event_new_gap(begin, length));
}

}  // namespace

Wait wait_until(Turn& turn, const std::function<bool()>& ready, GstClockTime running_time) {
  while (true) {
    const guint64 pauses =
        turn.state.waiter.pauses();  // read before the clock, because a pause changes the clock
    const PipelineClock clock(GST_ELEMENT(turn.source));
    const bool timed = turn.live && clock.clock() != nullptr && GST_CLOCK_TIME_IS_VALID(running_time);
    const GstClockTime deadline = timed ? clock.time_at(running_time) : GST_CLOCK_TIME_NONE;
    switch (turn.state.waiter.wait(ready, timed ? clock.clock() : nullptr, deadline, pauses)) {
      case Waiter::Result::Ready:
        return Wait::Ready;
      case Waiter::Result::TimeReached:
        return Wait::TimeReached;
      case Waiter::Result::Interrupted:
        return Wait::Flushing;
      case Waiter::Result::Paused:
        break;
    }
    if (!turn.state.waiter.wait_while_paused()) return Wait::Flushing;
  }
}

bool shows_black(const Turn& turn) {
  return turn.live && !turn.state.last.chunk && turn.setting(&Settings::placeholder);
}

Wait wait_for_first_frame(Turn& turn) {
  if (!turn.live)
    return wait_until(
        turn, [&] { return turn.frames_waiting(); }, GST_CLOCK_TIME_NONE);
  Waiter& waiter = turn.state.waiter;
  const std::unique_ptr<GstClock, decltype(&gst_object_unref)> patience(gst_system_clock_obtain(),
                                                                        gst_object_unref);
  std::optional<GstClockTime> told = running_time(turn);
  while (told) {
    const GstClockTime look = gst_clock_get_time(patience.get()) + kGap;
    switch (waiter.wait([&] { return turn.frames_waiting(); }, patience.get(), look, waiter.pauses())) {
      case Waiter::Result::Ready:
        return Wait::Ready;
      case Waiter::Result::Interrupted:
        return Wait::Flushing;
      default:
        break;
    }
    const std::optional<GstClockTime> now = running_time(turn);
    if (now && *now > *told) send_gap(turn, *told, *now - *told);
    told = now;
  }
  return Wait::Flushing;
}

GstClockTime stream_time(const SourceState& state) {
  return state.timeline.anchored() ? state.timeline.stamp() - state.segment_start : 0;
}

void follow_grid(Turn& turn) {
  SourceState& state = turn.state;
  turn.worker->set_due(state.timeline.stamp_of(state.timeline.next_slot()));
  bool ends = false;
  {
    std::lock_guard lock(state.mutex);
    state.progress.elapsed = stream_time(state);
    ends = state.end_frame != G_MAXUINT64 || state.progress.most_buffers != G_MAXUINT64;
  }
  if (ends) {
    gst_element_post_message(GST_ELEMENT(turn.source),
                             gst_message_new_duration_changed(GST_OBJECT(turn.source)));
  }
}

Wait handle_underrun(Turn& turn, bool* repeated) {
  SourceState& state = turn.state;
  const GstClockTime due = state.timeline.pts(), stamp = state.timeline.stamp();
  if (shows_black(turn)) {
    *repeated = !turn.frames_waiting();
    return Wait::Ready;
  }
  if (turn.setting(&Settings::underrun) == Underrun::Repeat && state.last.chunk) {
    if (turn.frames_waiting()) return Wait::Ready;  // a frame came at the last moment
    *repeated = true;
    state.statistics.underrun(0);
    return Wait::Ready;
  }
  const Wait waited = wait_until(
      turn, [&] { return turn.frames_waiting(); }, GST_CLOCK_TIME_NONE);
  if (waited != Wait::Ready) return waited;
  const std::optional<GstClockTime> now = running_time(turn);
  if (!now) return Wait::Flushing;
  const guint64 skipped = move_grid(turn, *now);
  report_underrun(turn, skipped, stamp, *now > due ? *now - due : 0);
  return Wait::Ready;
}

Late catch_up(Turn& turn) {
  SourceState& state = turn.state;
  const GstClockTimeDiff most = turn.setting(&Settings::max_lateness);
  if (!turn.live || !state.timeline.anchored() || most < 0) return Late::No;
  const std::optional<GstClockTime> now = running_time(turn);
  if (!now) return Late::Flushing;
  const GstClockTime due = state.timeline.pts(), stamp = state.timeline.stamp();
  const GstClockTime late = *now > due ? *now - due : 0;
  const GstClockTime latency = reported_latency(state);
  if (late <= latency || late - latency <= static_cast<GstClockTime>(most)) return Late::No;
  const guint64 skipped = move_grid(turn, *now);
  state.statistics.skipped(skipped);
  GST_INFO_OBJECT(turn.source, "%" GST_TIME_FORMAT " late at %" GST_TIME_FORMAT ", went on from now",
                  GST_TIME_ARGS(late), GST_TIME_ARGS(stamp));
  post_underrun(GST_ELEMENT(turn.source), stamp, state.timeline.frame_duration(), late,
                state.statistics.snapshot());
  return Late::GridMoved;
}

bool wait_for_slot(Turn& turn) {
  if (!turn.live || PipelineClock(GST_ELEMENT(turn.source)).clock() == nullptr) return true;
  const std::optional<GstClockTime> now = running_time(turn);
  if (!now || *now > turn.state.timeline.pts()) return now.has_value();
  return wait_until(
             turn, [] { return false; }, turn.state.timeline.pts()) == Wait::TimeReached;
}

bool anchor(Turn& turn) {
  SourceState& state = turn.state;
  if (state.timeline.anchored()) return true;
  const std::optional<GstClockTime> now = turn.live ? running_time(turn) : 0;
  if (!now) return false;
  state.timeline.anchor(*now);
  state.segment_start = turn.live ? state.timeline.stamp() : 0;
  follow_grid(turn);
  if (!turn.live) return true;
  GstSegment segment;
  gst_segment_init(&segment, GST_FORMAT_TIME);
  segment.start = segment.position = segment.base = state.segment_start;  // timestamps are running times
  gst_base_src_new_segment(GST_BASE_SRC(turn.source), &segment);
  return true;
}

void start_over(Turn& turn) {
  SourceState& state = turn.state;
  state.timeline.unanchor();
  state.discont = true;
  state.last = {};
  state.first_frame = 0;
  state.gaps_begun = state.black = false;
  turn.worker->set_due(kNoTime);
  std::lock_guard lock(state.mutex);
  state.progress.content_frame = 0;
  state.progress.parts_left = 0;
  state.progress.elapsed = 0;
}

std::optional<GstClockTime> wall_time_of_slot(const Turn& turn) {
  const PipelineClock clock(GST_ELEMENT(turn.source));
  if (!turn.live || clock.clock() == nullptr) return std::nullopt;
  const auto calendar = static_cast<GstClockTime>(g_get_real_time()) * GST_USECOND;
  return calendar + turn.state.timeline.pts() - clock.running_time();
}

}  // namespace flowcache::gst
