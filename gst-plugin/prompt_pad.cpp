// SPDX-License-Identifier: LGPL-2.1-or-later
#include "prompt_pad.h"

#include <exception>
#include <optional>
#include <string>

#include "log.h"
#include "messages.h"
#include "source_state.h"
#include "subtitle_file.h"

namespace flowcache::gst {
namespace {

constexpr size_t kMostWaiting = 64;  ///< prompts whose time has not come

GstStaticPadTemplate kPromptPad =
    GST_STATIC_PAD_TEMPLATE("prompt", GST_PAD_SINK, GST_PAD_REQUEST,
                            GST_STATIC_CAPS("text/x-raw, format = (string) { utf8, pango-markup }"));

SourceState& state_of(GstObject* element) {
  return *FLOWCACHE_SRC(element)->state;
}

/// The buffer's text on one line.
std::string text_of(GstPad* pad, GstBuffer* buffer) {
  GstMapInfo map;
  if (!gst_buffer_map(buffer, &map, GST_MAP_READ)) return {};
  const std::string text(reinterpret_cast<const char*>(map.data), map.size);
  gst_buffer_unmap(buffer, &map);
  GstCaps* caps = gst_pad_get_current_caps(pad);
  const char* format =
      caps == nullptr ? nullptr : gst_structure_get_string(gst_caps_get_structure(caps, 0), "format");
  const bool markup = g_strcmp0(format, "pango-markup") == 0;
  gst_clear_caps(&caps);
  return markup ? plain_text(text) : folded(text);
}

/// The timestamp of frames that are shown at this running time.
GstClockTime frame_time(GstBaseSrc* source, GstClockTime running_time) {
  GST_OBJECT_LOCK(source);
  const guint64 position =
      gst_segment_position_from_running_time(&source->segment, GST_FORMAT_TIME, running_time);
  GST_OBJECT_UNLOCK(source);
  return GST_CLOCK_TIME_IS_VALID(position) ? position : running_time;
}

/// When a buffer's prompt begins: NONE at once; nothing if the buffer is outside of its segment.
std::optional<GstClockTime> begin_of(GstPad* pad, GstBaseSrc* source, GstBuffer* buffer) {
  GstEvent* event = gst_pad_get_sticky_event(pad, GST_EVENT_SEGMENT, 0);
  if (event == nullptr) return GST_CLOCK_TIME_NONE;
  const GstSegment* segment = nullptr;
  gst_event_parse_segment(event, &segment);
  std::optional<GstClockTime> begin = GST_CLOCK_TIME_NONE;
  if (segment->format == GST_FORMAT_TIME && GST_BUFFER_PTS_IS_VALID(buffer)) {
    const guint64 time = gst_segment_to_running_time(segment, GST_FORMAT_TIME, GST_BUFFER_PTS(buffer));
    begin = GST_CLOCK_TIME_IS_VALID(time) ? std::optional(frame_time(source, time)) : std::nullopt;
  }
  gst_event_unref(event);
  return begin;
}

GstFlowReturn take_text(GstPad* pad, GstObject* parent, GstBuffer* buffer) {
  SourceState& state = state_of(parent);
  std::shared_ptr<FrameWorker> worker;
  PromptChange change;
  change.text = text_of(pad, buffer);
  change.from_stream = true;
  const auto begin = begin_of(pad, GST_BASE_SRC(parent), buffer);
  if (!begin) return GST_FLOW_OK;
  change.at = *begin;
  {
    std::lock_guard lock(state.mutex);
    worker = state.worker;
    change.blend_chunks = state.settings.blend_chunks;
    if (change.text.empty()) change.text = state.settings.prompt;
  }
  if (!worker) return GST_FLOW_FLUSHING;
  if (const auto problem = prompt_problem(change.text)) {
    post_change_refused(GST_ELEMENT(parent), "prompt", *problem);
    return GST_FLOW_OK;
  }
  const auto room = [&] { return worker->prompts_waiting() < kMostWaiting; };
  const Waiter::Result waited =
      state.prompt_room.wait(room, nullptr, GST_CLOCK_TIME_NONE, state.prompt_room.pauses());
  if (waited == Waiter::Result::Interrupted) return GST_FLOW_FLUSHING;
  worker->change_prompt(std::move(change));
  return GST_FLOW_OK;
}

GstFlowReturn chain_text(GstPad* pad, GstObject* parent, GstBuffer* buffer) noexcept {
  GstFlowReturn flow = GST_FLOW_ERROR;
  try {
    flow = take_text(pad, parent, buffer);
  } catch (const std::exception& defect) {
    GST_ELEMENT_ERROR(parent, LIBRARY, FAILED, ("flowcachesrc failed: %s", defect.what()), (nullptr));
  }
  gst_buffer_unref(buffer);
  return flow;
}

/// All of them end here: what happens to the text is not what happens to the video.
gboolean take_text_event(GstPad*, GstObject* parent, GstEvent* event) {
  SourceState& state = state_of(parent);
  if (GST_EVENT_TYPE(event) == GST_EVENT_FLUSH_START) state.prompt_room.interrupt();
  if (GST_EVENT_TYPE(event) == GST_EVENT_FLUSH_STOP) {
    std::shared_ptr<FrameWorker> worker;
    {
      std::lock_guard lock(state.mutex);
      worker = state.worker;
    }
    if (worker) worker->forget_stream_prompts();
    state.prompt_room.resume();
  }
  gst_event_unref(event);
  return TRUE;
}

GstIterator* no_links(GstPad*, GstObject*) {
  return nullptr;
}

GstPad* request_pad(GstElement* element, GstPadTemplate* templ, const char*, const GstCaps*) {
  if (GstPad* there = gst_element_get_static_pad(element, "prompt")) {
    gst_object_unref(there);
    GST_WARNING_OBJECT(element, "there is one pad for prompts, and it is taken");
    return nullptr;
  }
  GstPad* pad = gst_pad_new_from_template(templ, "prompt");
  gst_pad_set_chain_function(pad, chain_text);
  gst_pad_set_event_function(pad, take_text_event);
  gst_pad_set_iterate_internal_links_function(pad, no_links);
  gst_pad_set_active(pad, TRUE);
  gst_element_add_pad(element, pad);
  return pad;
}

void release_pad(GstElement* element, GstPad* pad) {
  close_prompt_pad(element);
  gst_pad_set_active(pad, FALSE);
  open_prompt_pad(element);
  gst_element_remove_pad(element, pad);
}

}  // namespace

void install_prompt_pad(GstElementClass* element_class) {
  gst_element_class_add_static_pad_template(element_class, &kPromptPad);
  element_class->request_new_pad = request_pad;
  element_class->release_pad = release_pad;
}

void close_prompt_pad(GstElement* element) {
  state_of(GST_OBJECT(element)).prompt_room.interrupt();
}

void open_prompt_pad(GstElement* element) {
  state_of(GST_OBJECT(element)).prompt_room.resume();
}

}  // namespace flowcache::gst
