// SPDX-License-Identifier: LGPL-2.1-or-later
// Events from both sides: those from upstream keep their places among the frames.
#include <algorithm>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include "filter.h"
#include "prompts.h"

namespace flowcache::gst::filtering {
namespace {

// Called with the input's stream lock.
void flush_stop(Call& call, GstEvent* event) {
  gst_pad_stop_task(call.element->src);
  forget_all(call.filter);
  if (call.worker) call.worker->reset(std::nullopt);
  call.filter.last = {};
  call.filter.restart = false;
  call.filter.draining = call.filter.let_out = false;
  call.filter.last_pts = GST_CLOCK_TIME_NONE;
  gst_segment_init(&call.filter.segment, GST_FORMAT_TIME);
  if (call.worker) call.worker->interrupt_feed(false);
  call.state.waiter.resume();
  call.filter.flow = GST_FLOW_OK;
  gst_pad_push_event(call.element->src, event);
}

bool take_event(Call& call, GstPad* pad, GstEvent* event) {
  FilterState& filter = call.filter;
  switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_FLUSH_START: {
      const gboolean done = gst_pad_push_event(call.element->src, event);
      interrupt(call);
      return done;
    }
    case GST_EVENT_FLUSH_STOP:
      flush_stop(call, event);
      gst_pad_start_task(call.element->src, loop, call.element, nullptr);
      return true;
    case GST_EVENT_CAPS:
      return take_caps(call, event);
    case GST_EVENT_SEGMENT: {
      const GstSegment* segment = nullptr;
      gst_event_parse_segment(event, &segment);
      if (segment->format != GST_FORMAT_TIME) {
        GST_ELEMENT_ERROR(call.element, STREAM, FORMAT,
                          ("flowcachefilter needs a segment in time, the input's is in %s.",
                           gst_format_get_name(segment->format)),
                          (nullptr));
        gst_event_unref(event);
        return false;
      }
      filter.segment = *segment;
      filter.next_pts = segment->start;
      filter.last_pts = GST_CLOCK_TIME_NONE;
      follow_script(call);
      break;
    }
    case GST_EVENT_GAP:
    case GST_EVENT_EOS:
      drain(call);
      break;
    default:
      break;
  }
  if (!GST_EVENT_IS_SERIALIZED(event)) return gst_pad_event_default(pad, GST_OBJECT(call.element), event);
  if (filter.collected.empty())
    append(call, {EventItem{event}});
  else
    filter.pending.emplace_back(EventItem{event});
  return true;
}

}  // namespace

void follow_script(Call& call) {
  if (!call.worker) return;
  std::vector<PromptChange> prompts;
  {
    std::lock_guard lock(call.state.mutex);
    const uint32_t blend = call.state.settings.transition_chunks();
    for (const Cue& cue : call.state.script.cues) prompts.push_back({cue.text, cue.start, blend});
  }
  if (prompts.empty()) return;
  const GstSegment& segment = call.filter.segment;
  const auto begun = [&](const PromptChange& cue) {
    guint64 at = 0;
    return gst_segment_position_from_stream_time_full(&segment, GST_FORMAT_TIME, cue.at, &at) < 0 ||
           at <= segment.start;
  };
  // The cues are in their order, so those that began before the segment come first; the last of them holds.
  auto next = std::find_if_not(prompts.begin(), prompts.end(), begun);
  if (next != prompts.begin()) --next;
  prompts.erase(prompts.begin(), next);
  for (PromptChange& cue : prompts) {
    const guint64 at =
        begun(cue) ? segment.start : gst_segment_position_from_stream_time(&segment, GST_FORMAT_TIME, cue.at);
    cue.at = gst_segment_to_running_time(&segment, GST_FORMAT_TIME, at);
  }
  // What is outside of the segment has no running time.
  std::erase_if(prompts, [](const PromptChange& cue) { return !GST_CLOCK_TIME_IS_VALID(cue.at); });
  call.worker->follow(std::move(prompts));
}

gboolean sink_event(GstPad* pad, GstObject* parent, GstEvent* event) noexcept {
  try {
    Call call(parent);
    return take_event(call, pad, event);
  } catch (const std::exception& defect) {
    GST_ELEMENT_ERROR(parent, LIBRARY, FAILED, ("flowcachefilter failed: %s", defect.what()), (nullptr));
    return FALSE;
  }
}

gboolean src_event(GstPad* pad, GstObject* parent, GstEvent* event) {
  GstElement* element = GST_ELEMENT(parent);
  bool taken = false;
  switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_QOS: {
      GstClockTimeDiff late = 0;
      gst_event_parse_qos(event, nullptr, nullptr, &late, nullptr);
      handle_qos(element, late);
      break;
    }
    case GST_EVENT_CUSTOM_UPSTREAM:
      taken = handle_custom_event(element, event);
      break;
    case GST_EVENT_NAVIGATION:
      taken = handle_navigation(element, event);
      break;
    default:
      break;
  }
  if (!taken) return gst_pad_event_default(pad, parent, event);
  gst_event_unref(event);
  return TRUE;
}

}  // namespace flowcache::gst::filtering
