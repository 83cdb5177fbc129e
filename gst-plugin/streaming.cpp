// SPDX-License-Identifier: LGPL-2.1-or-later
// The streaming thread. It takes the next frame from the ring, writes it into a buffer of the negotiated
// pool, and waits for the frame's time on the pipeline's clock.
#include "streaming.h"

#include <utility>

#include "engine.h"
#include "messages.h"
#include "output.h"
#include "reports.h"

namespace flowcache::gst {
namespace {

// Waits for a frame, as long as the current slot may be late.
Wait wait_for_frame(Turn& turn) {
  const GstClockTime due = turn.state.timeline.pts(), budget = jitter_budget(turn.state);
  const GstClockTime deadline = budget < GST_CLOCK_TIME_NONE - due ? due + budget : GST_CLOCK_TIME_NONE;
  return wait_until(
      turn, [&] { return turn.frames_waiting(); }, deadline);
}

// What the next buffer shows.
struct Shown {
  Frame frame;            // without a chunk: a black frame
  bool again = false;     // one more part of the same slot as the last buffer
  bool repeated = false;  // an older frame or black, because no frame came in time for this slot
};

// Chooses the frame for a new slot. Blocks until there is one, or until the underrun policy decides
// otherwise.
GstFlowReturn next_frame(Turn& turn, Frame* frame, bool* repeated) {
  SourceState& state = turn.state;
  while (true) {
    switch (turn.worker->peek(frame)) {
      case FrameWorker::RingState::Ready:
        if (number_of(*frame) < state.first_frame) {
          turn.worker->advance(*frame, state.timeline.stamp_of(number_of(*frame) + 1));
          continue;
        }
        state.first_frame = 0;
        return GST_FLOW_OK;
      case FrameWorker::RingState::Ended:
        return GST_FLOW_EOS;
      case FrameWorker::RingState::Failed:
        return GST_FLOW_ERROR;
      case FrameWorker::RingState::Empty:
        break;
    }
    Wait waited = state.timeline.anchored() ? wait_for_frame(turn) : wait_for_first_frame(turn);
    if (waited == Wait::TimeReached) waited = handle_underrun(turn, repeated);
    if (waited == Wait::Flushing) return GST_FLOW_FLUSHING;
    if (*repeated) {
      *frame = state.last;  // has no chunk if the last frame was black
      return GST_FLOW_OK;
    }
  }
}

// Makes a buffer of the negotiated pool with the frame written into it.
GstFlowReturn make_buffer(Turn& turn, const Frame& frame, GstBuffer** buffer) {
  GstBaseSrc* base = GST_BASE_SRC(turn.source);
  const auto size = static_cast<guint>(turn.state.info.size);
  const GstFlowReturn flow = parent_class()->alloc(base, GST_BUFFER_OFFSET_NONE, size, buffer);
  if (flow != GST_FLOW_OK) return flow;
  std::string error;
  if (!frame.chunk && write_black(turn.state, *buffer)) return GST_FLOW_OK;
  const fc_status status =
      frame.chunk ? write_frame(GST_ELEMENT(base), turn.state, *turn.worker, frame, *buffer, &error)
                  : FC_ERROR_DEVICE;
  if (status == FC_OK) return GST_FLOW_OK;
  gst_clear_buffer(buffer);
  post_engine_error(GST_ELEMENT(base), status, error);
  return GST_FLOW_ERROR;
}

void stamp(SourceState& state, GstBuffer* buffer, bool repeated) {
  GST_BUFFER_PTS(buffer) = state.timeline.stamp();
  GST_BUFFER_DTS(buffer) = GST_CLOCK_TIME_NONE;
  GST_BUFFER_DURATION(buffer) = state.timeline.duration();
  GST_BUFFER_OFFSET(buffer) = state.timeline.number();
  GST_BUFFER_OFFSET_END(buffer) = state.timeline.number() + 1;
  if (repeated) GST_BUFFER_FLAG_SET(buffer, GST_BUFFER_FLAG_GAP);
  if (state.discont) GST_BUFFER_FLAG_SET(buffer, GST_BUFFER_FLAG_DISCONT);
  state.discont = false;
}

bool script_is_over(const Turn& turn, const Frame& frame) {
  std::lock_guard lock(turn.state.mutex);
  return number_of(frame) >= turn.state.end_frame;
}

// Counts a frame that is pushed now, and posts the messages about it.
void account_for(Turn& turn, const Shown& shown) {
  const auto& [frame, again, repeated] = shown;
  SourceState& state = turn.state;
  const GstClockTime stamp = state.timeline.stamp();
  state.statistics.frame_pushed(g_get_monotonic_time(), repeated && frame.chunk && !again);
  if (!frame.chunk) {
    state.black = true;
  } else if (again) {
    // The frame was counted and reported with its first part.
  } else if (repeated && !std::exchange(state.repeating, true)) {  // one message for all repeats in a row
    post_underrun(GST_ELEMENT(turn.source), stamp, state.timeline.frame_duration(), jitter_budget(state),
                  state.statistics.snapshot());
  } else if (!repeated) {
    state.repeating = false;
    // A reset is a cut, and so is the first frame after black ones.
    const bool cut = frame.chunk->info().chunk == 0 && (state.last.chunk || state.black);
    report_chunk(GST_ELEMENT(turn.source), state, frame, {stamp, stamp, stamp - state.segment_start}, cut);
  }
  report_statistics(GST_ELEMENT(turn.source), state, state.timeline.pts());
  GST_LOG_OBJECT(turn.source, "frame %" G_GUINT64_FORMAT " at %" GST_TIME_FORMAT "%s",
                 state.timeline.number(), GST_TIME_ARGS(stamp), repeated ? ", repeated" : "");
}

// Goes on to the next part. After a frame's last part, goes on to the next frame.
void advance(Turn& turn, const Shown& shown) {
  const auto& [frame, again, repeated] = shown;
  SourceState& state = turn.state;
  state.timeline.advance();
  if (repeated && !again) {
    follow_grid(turn);
  } else if (!again) {
    turn.worker->advance(frame, state.timeline.stamp_of(state.timeline.next_slot()));
    state.last = frame;
    state.black = false;
  }
  const guint part = state.timeline.part();
  std::lock_guard lock(state.mutex);
  state.progress.elapsed = stream_time(state);
  if (frame.chunk) state.progress.content_frame = number_of(frame) + 1;
  state.progress.parts_left = part == 0 ? 0 : state.timeline.parts() - part;
  ++state.progress.buffers;
}

// Chooses the frame for the current part. Blocks until there is one.
GstFlowReturn choose(Turn& turn, Shown* shown) {
  const SourceState& state = turn.state;
  if (state.timeline.part() > 0) {
    *shown = {.frame = state.last, .again = true, .repeated = state.repeating || !state.last.chunk};
    return GST_FLOW_OK;
  }
  *shown = {};
  const GstFlowReturn flow = next_frame(turn, &shown->frame, &shown->repeated);
  if (flow != GST_FLOW_OK) return flow;
  return shown->frame.chunk && script_is_over(turn, shown->frame) ? GST_FLOW_EOS : GST_FLOW_OK;
}

GstFlowReturn create_frame(GstFlowCacheSrc* source, GstBuffer** buffer) {
  Turn turn(source);
  SourceState& state = turn.state;
  if (!turn.worker) return GST_FLOW_FLUSHING;
  if (state.reanchor.exchange(false)) start_over(turn);
  if (catch_up(turn) == Late::Flushing) return GST_FLOW_FLUSHING;
  gst_object_sync_values(GST_OBJECT(source), stream_time(state));

  // A black frame needs a place on the time grid, so the grid must begin before there is a real frame.
  if (shows_black(turn) && !turn.frames_waiting() && !anchor(turn)) return GST_FLOW_FLUSHING;
  Shown shown;
  GstFlowReturn flow = choose(turn, &shown);
  if (flow != GST_FLOW_OK) return flow;
  if (!anchor(turn)) return GST_FLOW_FLUSHING;
  flow = make_buffer(turn, shown.frame, buffer);
  if (flow != GST_FLOW_OK) return flow;
  Late late = Late::No;
  do {
    late = wait_for_slot(turn) ? catch_up(turn) : Late::Flushing;
  } while (late == Late::GridMoved && !shown.again);
  if (late == Late::Flushing) {
    gst_clear_buffer(buffer);
    return GST_FLOW_FLUSHING;
  }
  if (late == Late::GridMoved) {  // the slot to which this part belonged is over
    gst_clear_buffer(buffer);
    return create_frame(source, buffer);
  }
  stamp(state, *buffer, shown.repeated);
  if (shown.frame.chunk) annotate(*buffer, shown.frame);
  if (shown.frame.chunk && turn.setting(&Settings::sei)) add_sei(*buffer, shown.frame);
  if (const auto due = wall_time_of_slot(turn)) add_wall_time(*buffer, *due);
  account_for(turn, shown);
  advance(turn, shown);
  return GST_FLOW_OK;
}

}  // namespace

GstFlowReturn create(GstPushSrc* push, GstBuffer** buffer) {
  try {
    return create_frame(FLOWCACHE_SRC(push), buffer);
  } catch (const std::exception& defect) {
    gst_clear_buffer(buffer);
    GST_ELEMENT_ERROR(push, LIBRARY, FAILED, ("The engine failed: %s", defect.what()),
                      ("exception in create()"));
  } catch (...) {
    gst_clear_buffer(buffer);
    GST_ELEMENT_ERROR(push, LIBRARY, FAILED, ("The engine failed without saying why."),
                      ("exception in create()"));
  }
  return GST_FLOW_ERROR;
}

}  // namespace flowcache::gst
