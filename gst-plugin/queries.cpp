// SPDX-License-Identifier: LGPL-2.1-or-later
// Queries and upstream events, and positions in streams that are not live.
#include "engine.h"
#include "prompts.h"
#include "streaming.h"

namespace flowcache::gst {
namespace {

// There is no maximum, because a generator that must wait loses nothing.
bool answer_latency(SourceState& state, GstQuery* query) {
  {
    std::lock_guard lock(state.mutex);
    if (state.model.fps_n == 0) return false;
  }
  gst_query_set_latency(query, TRUE, reported_latency(state), GST_CLOCK_TIME_NONE);
  return true;
}

// Only with num-buffers, or with a script that ends the stream; otherwise the video has no end. In a live
// stream, frames that are late or repeated make the duration longer.
bool answer_duration(GstBaseSrc* base, SourceState& state, GstQuery* query) {
  GstFormat format;
  gst_query_parse_duration(query, &format, nullptr);
  std::lock_guard lock(state.mutex);
  Progress done = state.progress;
  if (!gst_base_src_is_live(base)) done = {.most_buffers = done.most_buffers, .parts = done.parts};
  guint64 left = done.most_buffers == G_MAXUINT64 ? G_MAXUINT64
                                                  : done.most_buffers - MIN(done.buffers, done.most_buffers);
  if (state.end_frame != G_MAXUINT64)
    left = MIN(left,
               (state.end_frame - MIN(done.content_frame, state.end_frame)) * done.parts + done.parts_left);
  if (left == G_MAXUINT64 || state.model.fps_n == 0) return false;
  if (format == GST_FORMAT_DEFAULT) {
    gst_query_set_duration(query, format, static_cast<gint64>(done.buffers + left));
    return true;
  }
  if (format != GST_FORMAT_TIME) return false;
  const GstClockTime rest =
      gst_util_uint64_scale(left, GST_SECOND * state.model.fps_d, guint64{state.model.fps_n} * done.parts);
  gst_query_set_duration(query, format, static_cast<gint64>(done.elapsed + rest));
  return true;
}

bool answer_convert(GstBaseSrc* base, GstQuery* query) {
  GstCaps* caps = gst_pad_get_current_caps(GST_BASE_SRC_PAD(base));
  if (caps == nullptr) return false;
  GstVideoInfo info;
  const bool known = gst_video_info_from_caps(&info, caps);
  gst_caps_unref(caps);
  GstFormat from, to;
  gint64 value = 0, result = 0;
  gst_query_parse_convert(query, &from, &value, &to, nullptr);
  if (!known || !gst_video_info_convert(&info, from, value, to, &result)) return false;
  gst_query_set_convert(query, from, value, to, result);
  return true;
}

// Decides before the base class handles the seek. In READY the base class would keep the seek for later, and
// in other states it would flush before it fails.
bool can_seek(GstBaseSrc* base, GstEvent* seek) {
  gdouble rate = 0;
  gst_event_parse_seek(seek, &rate, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr);
  const bool live = gst_base_src_is_live(base) != FALSE;
  if (!live && rate > 0) return true;
  GST_INFO_OBJECT(base, "seek refused: %s",
                  live ? "a live stream has no positions to go to" : "it plays forwards only");
  return false;
}

}  // namespace

GstClockTime jitter_budget(SourceState& state) {
  std::lock_guard lock(state.mutex);
  const GstClockTime chosen = state.settings.latency;
  return GST_CLOCK_TIME_IS_VALID(chosen) ? chosen : state.latency.budget();
}

GstClockTime reported_latency(SourceState& state) {
  const GstClockTime budget = jitter_budget(state);
  std::lock_guard lock(state.mutex);
  const GstClockTime frame = gst_util_uint64_scale(GST_SECOND, state.model.fps_d, state.model.fps_n);
  // A very large budget must not overflow, and the sum must not be GST_CLOCK_TIME_NONE, which means no
  // minimum.
  const GstClockTime most = GST_CLOCK_TIME_NONE - 1;
  return budget > most - frame ? most : frame + budget;
}

gboolean query(GstBaseSrc* base, GstQuery* query) {
  SourceState& state = *FLOWCACHE_SRC(base)->state;
  switch (GST_QUERY_TYPE(query)) {
    case GST_QUERY_LATENCY:
      if (!gst_base_src_is_live(base)) break;
      return answer_latency(state, query);
    case GST_QUERY_DURATION:
      return answer_duration(base, state, query);
    case GST_QUERY_CONVERT:
      if (answer_convert(base, query)) return TRUE;
      break;
    case GST_QUERY_CONTEXT:
      if (state.gl.answer(GST_ELEMENT(base), query)) return TRUE;
      if (state.cuda.answer(GST_ELEMENT(base), query)) return TRUE;
      break;
    default:
      break;
  }
  return parent_class()->query(base, query);
}

gboolean send_event(GstElement* element, GstEvent* event) {
  SourceState& state = *FLOWCACHE_SRC(element)->state;
  switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_SEEK:
      if (can_seek(GST_BASE_SRC(element), event)) break;
      gst_event_unref(event);
      return FALSE;
    case GST_EVENT_FLUSH_STOP: {
      // Flushed frames are lost, so the stream starts over, and so does the time grid.
      state.reanchor = true;
      std::shared_ptr<FrameWorker> worker;
      {
        std::lock_guard lock(state.mutex);
        worker = state.worker;
      }
      if (worker) worker->reset(std::nullopt);
      break;
    }
    case GST_EVENT_CUSTOM_UPSTREAM:
      if (handle_custom_event(element, event)) {
        gst_event_unref(event);
        return TRUE;
      }
      break;
    default:
      break;
  }
  return GST_ELEMENT_CLASS(parent_class())->send_event(element, event);
}

gboolean event(GstBaseSrc* base, GstEvent* event) {
  if (GST_EVENT_TYPE(event) == GST_EVENT_SEEK && !can_seek(base, event)) return FALSE;
  if (GST_EVENT_TYPE(event) == GST_EVENT_QOS) {
    GstClockTimeDiff late = 0;
    gst_event_parse_qos(event, nullptr, nullptr, &late, nullptr);
    handle_qos(GST_ELEMENT(base), late);
  }
  if (GST_EVENT_TYPE(event) == GST_EVENT_CUSTOM_UPSTREAM && handle_custom_event(GST_ELEMENT(base), event))
    return TRUE;
  if (GST_EVENT_TYPE(event) == GST_EVENT_NAVIGATION && handle_navigation(GST_ELEMENT(base), event))
    return TRUE;
  return parent_class()->event(base, event);
}

// ---- positions

namespace {

// Every frame depends on those before it. To go back, the video is made again from its start. To go forward,
// the frames in between are made and not shown.
void go_to_frame(GstFlowCacheSrc* source, guint64 frame) {
  Turn turn(source);
  SourceState& state = turn.state;
  guint64 next = 0;
  {
    std::lock_guard lock(state.mutex);
    next = state.progress.content_frame;
    state.progress.content_frame = frame;
    state.progress.parts_left = 0;
  }
  const bool ahead = frame >= next && state.timeline.next_slot() == next;
  state.timeline.go_to(frame);
  state.first_frame = frame;
  state.last = {};
  if (ahead) return;
  turn.worker->reset(std::nullopt);
  turn.worker->set_due(state.timeline.stamp_of(0));
}

}  // namespace

gboolean is_seekable(GstBaseSrc* base) {
  return !gst_base_src_is_live(base);
}

// Called with the stream's lock held, so create() does not run at the same time. Also called for the segment
// that a stream begins with.
gboolean do_seek(GstBaseSrc* base, GstSegment* segment) {
  GstFlowCacheSrc* source = FLOWCACHE_SRC(base);
  if (segment->rate <= 0) return FALSE;
  segment->time = segment->start;
  if (gst_base_src_is_live(base)) return segment->start == 0;
  go_to_frame(source, source->state->timeline.slot_at(segment->start));
  return TRUE;
}

}  // namespace flowcache::gst
