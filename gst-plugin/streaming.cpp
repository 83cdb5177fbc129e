// SPDX-License-Identifier: LGPL-2.1-or-later
// The streaming thread: takes the next frame from the ring, writes it into a buffer of the negotiated pool,
// and holds it until its time on the pipeline's clock.
#include <utility>

#include "annotations.h"
#include "frame_output.h"
#include "log.h"
#include "messages.h"
#include "source_state.h"

namespace flowcache::gst {
namespace {

/// One call of create(): what it needs to know, looked up once.
struct Turn {
  GstFlowCacheSrc* source;
  SourceState& state;
  std::shared_ptr<FrameWorker> worker;
  GstClock* clock;  ///< null: nothing to wait for
  Underrun policy;
  GstClockTime budget;
  bool sei = false;

  explicit Turn(GstFlowCacheSrc* src)
      : source(src),
        state(*src->state),
        clock(nullptr),
        policy(Underrun::Repeat),
        budget(jitter_budget(state)) {
    if (gst_base_src_is_live(GST_BASE_SRC(src))) clock = gst_element_get_clock(GST_ELEMENT(src));
    std::lock_guard lock(state.mutex);
    worker = state.worker;
    policy = state.settings.underrun;
    sei = state.settings.sei;
  }
  ~Turn() { gst_clear_object(&clock); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  GstClockTime base_time() const { return gst_element_get_base_time(GST_ELEMENT(source)); }
  GstClockTime running_time() const {
    const GstClockTime now = gst_clock_get_time(clock), base = base_time();
    return now > base ? now - base : 0;
  }
  bool frames_waiting() const { return worker->ring_state() != FrameWorker::RingState::Empty; }
};

enum class Wait { Ready, TimeReached, Flushing };

/// Waits for `ready` or a running time. A pause stops the clock that counts: the wait goes on after it.
Wait wait_until(Turn& turn, const std::function<bool()>& ready, GstClockTime running_time) {
  while (true) {
    const bool timed = turn.clock != nullptr && GST_CLOCK_TIME_IS_VALID(running_time);
    const guint64 pauses = turn.state.waiter.pauses();  // before base_time(), which a pause changes
    const GstClockTime deadline = timed ? turn.base_time() + running_time : GST_CLOCK_TIME_NONE;
    switch (turn.state.waiter.wait(ready, turn.clock, deadline, pauses)) {
      case Waiter::Result::Ready:
        return Wait::Ready;
      case Waiter::Result::TimeReached:
        return Wait::TimeReached;
      case Waiter::Result::Interrupted:
        return Wait::Flushing;
      case Waiter::Result::Paused:
        break;
    }
    if (turn.state.waiter.wait_while_paused() == Waiter::Result::Interrupted) return Wait::Flushing;
  }
}

void report_underrun(Turn& turn, guint64 skipped, GstClockTime stamp, GstClockTime late) {
  turn.state.statistics.underrun(skipped);
  GST_DEBUG_OBJECT(turn.source, "underrun at %" GST_TIME_FORMAT ", %" GST_TIME_FORMAT " late",
                   GST_TIME_ARGS(stamp), GST_TIME_ARGS(late));
  post_underrun(GST_ELEMENT(turn.source), stamp, turn.state.timeline.frame_duration(), late,
                turn.state.statistics.snapshot());
}

/// No frame came in time. Either finds one to repeat (true in *repeated), or waits for the late one and moves
/// on the grid, or moves the grid.
Wait handle_underrun(Turn& turn, bool* repeated) {
  SourceState& state = turn.state;
  const GstClockTime due = state.timeline.pts(), stamp = state.timeline.stamp();
  if (turn.policy == Underrun::Repeat && state.last.chunk) {
    if (turn.frames_waiting()) return Wait::Ready;  // it came in the last moment
    *repeated = true;
    state.statistics.underrun(0);
    return Wait::Ready;
  }
  const Wait waited = wait_until(
      turn, [&] { return turn.frames_waiting(); }, GST_CLOCK_TIME_NONE);
  if (waited != Wait::Ready) return waited;
  if (state.waiter.wait_while_paused() == Waiter::Result::Interrupted) return Wait::Flushing;
  const GstClockTime now = turn.running_time();
  guint64 skipped = 0;
  if (turn.policy == Underrun::Stall) {
    state.timeline.shift_to(now);
  } else {
    skipped = state.timeline.skip_to(now);
    state.discont = state.discont || skipped > 0;
  }
  report_underrun(turn, skipped, stamp, now > due ? now - due : 0);
  return Wait::Ready;
}

/// The frame for the current slot. Blocks until there is one, or until the underrun policy finds another way.
GstFlowReturn next_frame(Turn& turn, Frame* frame, bool* repeated) {
  SourceState& state = turn.state;
  while (true) {
    switch (turn.worker->peek(frame)) {
      case FrameWorker::RingState::Ready:
        return GST_FLOW_OK;
      case FrameWorker::RingState::Ended:
        return GST_FLOW_EOS;
      case FrameWorker::RingState::Failed:
        return GST_FLOW_ERROR;
      case FrameWorker::RingState::Empty:
        break;
    }
    GstClockTime deadline = GST_CLOCK_TIME_NONE;
    if (turn.clock != nullptr && state.timeline.anchored() &&
        turn.budget < GST_CLOCK_TIME_NONE - state.timeline.pts()) {
      deadline = state.timeline.pts() + turn.budget;
    }
    Wait waited = wait_until(
        turn, [&] { return turn.frames_waiting(); }, deadline);
    if (waited == Wait::TimeReached) waited = handle_underrun(turn, repeated);
    if (waited == Wait::Flushing) return GST_FLOW_FLUSHING;
    if (*repeated) {
      *frame = state.last;
      return GST_FLOW_OK;
    }
  }
}

/// A buffer of the negotiated pool with the frame written into it.
GstFlowReturn make_buffer(Turn& turn, const Frame& frame, GstBuffer** buffer) {
  GstBaseSrc* base = GST_BASE_SRC(turn.source);
  const auto size = static_cast<guint>(turn.state.info.size);
  const GstFlowReturn flow = parent_class()->alloc(base, GST_BUFFER_OFFSET_NONE, size, buffer);
  if (flow != GST_FLOW_OK) return flow;
  std::string error;
  const fc_status status = write_frame(turn.source, *turn.worker, frame, *buffer, &error);
  if (status == FC_OK) return GST_FLOW_OK;
  gst_clear_buffer(buffer);
  post_engine_error(GST_ELEMENT(base), status, error);
  return GST_FLOW_ERROR;
}

void stamp(SourceState& state, GstBuffer* buffer, bool repeated) {
  GST_BUFFER_PTS(buffer) = state.timeline.stamp();
  GST_BUFFER_DTS(buffer) = GST_CLOCK_TIME_NONE;
  GST_BUFFER_DURATION(buffer) = state.timeline.duration();
  GST_BUFFER_OFFSET(buffer) = state.timeline.slot();
  GST_BUFFER_OFFSET_END(buffer) = state.timeline.slot() + 1;
  if (repeated) GST_BUFFER_FLAG_SET(buffer, GST_BUFFER_FLAG_GAP);
  if (state.discont) GST_BUFFER_FLAG_SET(buffer, GST_BUFFER_FLAG_DISCONT);
  state.discont = false;
}

/// Takes the receipts that this chunk settles, in the order of their tickets: that of its own prompt, and
/// those of prompts that should have shown by now.
std::deque<PromptReceipt> settled_receipts(SourceState& state, const fc_chunk_info& chunk) {
  std::deque<PromptReceipt> settled, pending;
  std::lock_guard lock(state.mutex);
  for (PromptReceipt& receipt : state.receipts) {
    const bool is_settled = receipt.ticket == chunk.prompt_ticket || receipt.by_chunk <= chunk.chunk;
    (is_settled ? settled : pending).push_back(std::move(receipt));
  }
  state.receipts = std::move(pending);
  return settled;
}

/// Posts what became of the prompts, at the first frame of a chunk.
void report_prompt(Turn& turn, const Frame& frame) {
  if (frame.index != 0) return;
  const fc_chunk_info& chunk = frame.chunk->info();
  const GstClockTime pts = turn.state.timeline.stamp();
  for (const PromptReceipt& receipt : settled_receipts(turn.state, chunk)) {
    const bool applied = receipt.ticket == chunk.prompt_ticket;
    if (applied) send_tags(GST_ELEMENT(turn.source), receipt.text);
    if (applied && receipt.ticket != 0 && receipt.blend_chunks == 0) {
      request_keyframe(GST_ELEMENT(turn.source), pts);
    }
    post_prompt(GST_ELEMENT(turn.source), applied ? PromptStage::Applied : PromptStage::Replaced, receipt,
                chunk.chunk, pts);
  }
}

/// Keeps the map from time to chunks, and posts what was done for a chunk at its first frame.
void report_chunk(Turn& turn, const Frame& frame) {
  SourceState& state = turn.state;
  const fc_chunk_info& chunk = frame.chunk->info();
  bool report = false;
  {
    std::lock_guard lock(state.mutex);
    state.next_content_frame = chunk.chunk * chunk.frames + frame.index + 1;
    state.next_content_pts = state.timeline.stamp() + state.timeline.duration();
    report = state.settings.report_chunks && frame.index == 0;
  }
  if (report) post_chunk(GST_ELEMENT(turn.source), chunk, state.timeline.stamp());
}

void report_statistics(Turn& turn) {
  SourceState& state = turn.state;
  GstClockTime interval = 0;
  {
    std::lock_guard lock(state.mutex);
    interval = state.settings.stats_interval;
  }
  const GstClockTime now = state.timeline.pts();
  if (interval == 0 || (GST_CLOCK_TIME_IS_VALID(state.stats_due) && now < state.stats_due)) return;
  const bool first = !GST_CLOCK_TIME_IS_VALID(state.stats_due);
  state.stats_due = now + MIN(interval, GST_CLOCK_TIME_NONE - 1 - now);
  if (first) return;
  gst_element_post_message(GST_ELEMENT(turn.source),
                           gst_message_new_element(GST_OBJECT(turn.source), make_stats(state)));
}

/// Waits for the buffer's time; a frame that is late already goes out at once.
bool wait_for_slot(Turn& turn) {
  if (turn.clock == nullptr || turn.running_time() > turn.state.timeline.pts()) return true;
  return wait_until(
             turn, [] { return false; }, turn.state.timeline.pts()) == Wait::TimeReached;
}

bool script_is_over(SourceState& state) {
  std::lock_guard lock(state.mutex);
  return state.next_content_frame >= state.end_frame;
}

GstFlowReturn create_frame(GstFlowCacheSrc* source, GstBuffer** buffer) {
  Turn turn(source);
  SourceState& state = turn.state;
  if (!turn.worker) return GST_FLOW_FLUSHING;
  if (state.reanchor.exchange(false)) {
    state.timeline.unanchor();
    state.discont = true;
    state.last = {};
  }
  gst_object_sync_values(GST_OBJECT(source), state.timeline.stamp());
  if (script_is_over(state)) return GST_FLOW_EOS;

  Frame frame;
  bool repeated = false;
  GstFlowReturn flow = next_frame(turn, &frame, &repeated);
  if (flow != GST_FLOW_OK) return flow;
  if (!state.timeline.anchored()) state.timeline.anchor(turn.clock != nullptr ? turn.running_time() : 0);
  flow = make_buffer(turn, frame, buffer);
  if (flow != GST_FLOW_OK) return flow;
  const GstClockTime pts = state.timeline.stamp();
  stamp(state, *buffer, repeated);
  annotate(*buffer, frame);
  if (turn.sei) add_sei(*buffer, frame);
  if (!wait_for_slot(turn)) {
    gst_clear_buffer(buffer);
    return GST_FLOW_FLUSHING;
  }

  state.statistics.frame_pushed(g_get_monotonic_time(), repeated);
  if (repeated && !std::exchange(state.repeating, true)) {  // one message for all that follow each other
    post_underrun(GST_ELEMENT(source), pts, state.timeline.frame_duration(), turn.budget,
                  state.statistics.snapshot());
  } else if (!repeated) {
    state.repeating = false;
    report_prompt(turn, frame);
    report_chunk(turn, frame);
    turn.worker->advance(frame);
    state.last = frame;
  }
  report_statistics(turn);
  GST_LOG_OBJECT(source, "frame %" G_GUINT64_FORMAT " at %" GST_TIME_FORMAT "%s", state.timeline.slot(),
                 GST_TIME_ARGS(pts), repeated ? ", repeated" : "");
  state.timeline.advance();
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
