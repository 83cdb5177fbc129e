// SPDX-License-Identifier: LGPL-2.1-or-later
#include "prompts.h"

#include <gst/video/navigation.h>

#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "engine.h"
#include "flowcachefilter.h"
#include "flowcachesrc.h"
#include "messages.h"
#include "script.h"

namespace flowcache::gst {

namespace {

gboolean set_prompt_action(GstElement* source, const char* text, guint blend_chunks, guint64 running_time) {
  const bool accepted = change_prompt(source, text == nullptr ? "" : text, blend_chunks, running_time);
  if (accepted) g_object_notify(G_OBJECT(source), "prompt");
  return accepted;
}

void reset_action(GstElement* source, guint64 seed) {
  reset_stream(source, seed);
  g_object_notify(G_OBJECT(source), "seed");
}

void request_stats_action(GstElement* source) {
  gst_element_post_message(GST_ELEMENT(source),
                           gst_message_new_element(GST_OBJECT(source), make_stats(state_of(source))));
}

}  // namespace

bool change_prompt(GstElement* source, const std::string& text, guint blend_chunks,
                   GstClockTime running_time) {
  SourceState& state = state_of(source);
  const PromptChange change{text, running_time, blend_chunks};
  const bool at_once = !GST_CLOCK_TIME_IS_VALID(running_time);
  const auto problem = prompt_problem(text);
  std::shared_ptr<FrameWorker> worker;
  bool refused = false;
  {
    std::lock_guard lock(state.mutex);
    worker = state.worker;
    // Before PAUSED a bad prompt is stored, and stops the pipeline with an error later. While the stream
    // plays, or if the prompt is for a later time, a bad one is refused, and the old one stays.
    refused = problem && (worker || !at_once);
    if (!refused && (worker || at_once)) state.settings.prompt = text;
    if (!refused && !worker && !at_once) state.early_prompts.push_back(change);
  }
  if (refused) {
    post_change_refused(GST_ELEMENT(source), "prompt", *problem);
    return false;
  }
  if (worker) worker->change_prompt(change);
  return true;
}

void change_negative_prompt(GstElement* source, const std::string& text) {
  SourceState& state = state_of(source);
  std::shared_ptr<FrameWorker> worker;
  {
    std::lock_guard lock(state.mutex);
    worker = state.worker;
  }
  const auto problem = prompt_problem(text);
  if (worker && problem) return post_change_refused(GST_ELEMENT(source), "negative-prompt", *problem);
  {
    std::lock_guard lock(state.mutex);
    state.settings.negative_prompt = text;
  }
  if (worker) worker->change_negative_prompt(text);
}

void handle_qos(GstElement* source, GstClockTimeDiff late) {
  SourceState& state = state_of(source);
  {
    std::lock_guard lock(state.mutex);
    if (!state.settings.qos) return;  // first, because sinks send an event for every frame
  }
  const StatisticsSnapshot now = state.statistics.snapshot();
  if (now.stream.chunks == 0) return;  // only after the first chunk it is known whether there is a deadline
  const bool governed = now.stream.deadline_seconds > 0;
  std::shared_ptr<FrameWorker> worker;
  double deadline = 0;
  bool warn = false;
  {
    std::lock_guard lock(state.mutex);
    if (!state.worker) return;
    if (governed && state.qos.frame_shown(late)) worker = state.worker;
    // While it is not tightened, the deadline is left to the engine, which may change it.
    deadline = state.qos.tightened() ? state.qos.deadline() : 0;
    warn = !governed && !std::exchange(state.qos_warned, true);
  }
  if (warn) {
    post_change_refused(
        GST_ELEMENT(source), "qos",
        "qos=true has no effect, as the cache policy has no deadline: unset cache, or set cache=auto.");
  }
  if (!worker) return;
  GST_DEBUG_OBJECT(source, "frames are %" GST_STIME_FORMAT " late: deadline %.0f ms a chunk",
                   GST_STIME_ARGS(late), deadline * 1e3);
  worker->set_deadline(deadline);
}

void set_qos(GstElement* source, bool on) {
  SourceState& state = state_of(source);
  std::shared_ptr<FrameWorker> worker;
  {
    std::lock_guard lock(state.mutex);
    if (state.settings.qos == on) return;
    state.settings.qos = on;
    if (!on && state.qos.tightened()) worker = state.worker;
    if (state.worker) {
      state.qos.reset(state.timeline.frame_duration(), state.model.frames_per_chunk,
                      static_cast<uint32_t>(state.worker->capacity()));
    }
  }
  if (worker) worker->set_deadline(0);
}

guint64 frame_at(const fc_model_info& model, GstClockTime time) {
  return gst_util_uint64_scale_ceil(time, model.fps_n, GST_SECOND * model.fps_d);
}

guint64 chunk_from(const fc_model_info& model, guint64 frame) {
  return frame / model.frames_per_chunk + (frame % model.frames_per_chunk != 0);
}

std::vector<ScriptedPrompt> scripted_prompts(const std::vector<Cue>& script, const fc_model_info& model,
                                             std::vector<std::string>* remarks) {
  std::vector<ScriptedPrompt> prompts;
  const Cue* before = nullptr;
  for (const Cue& cue : script) {
    const guint64 chunk = chunk_from(model, frame_at(model, cue.start));
    if (before != nullptr && prompts.back().chunk == chunk) {
      remarks->push_back("The cue in line " + std::to_string(before->line) +
                         " is not shown: the one in line " + std::to_string(cue.line) +
                         " begins in the same chunk of " + std::to_string(model.frames_per_chunk) +
                         " frames.");
      prompts.pop_back();
    }
    prompts.push_back({chunk, cue.text});
    before = &cue;
  }
  return prompts;
}

void reset_stream(GstElement* source, guint64 seed) {
  SourceState& state = state_of(source);
  std::shared_ptr<FrameWorker> worker;
  {
    std::lock_guard lock(state.mutex);
    state.settings.seed = seed;
    worker = state.worker;
  }
  if (FLOWCACHE_IS_FILTER(source)) {  // chunks that have come in come out first
    state.reset_wanted = worker != nullptr;
    return;
  }
  if (worker) worker->reset(seed);
}

bool handle_custom_event(GstElement* source, GstEvent* event) {
  const GstStructure* s = gst_event_get_structure(event);
  if (s == nullptr) return false;
  if (gst_structure_has_name(s, "flowcache/reset")) {
    guint64 seed = 0;
    if (!gst_structure_get_uint64(s, "seed", &seed)) return false;
    reset_action(source, seed);
    return true;
  }
  const char* prompt = gst_structure_get_string(s, "prompt");
  if (!gst_structure_has_name(s, "flowcache/prompt") || prompt == nullptr) return false;
  guint blend_chunks = 0;
  guint64 at = GST_CLOCK_TIME_NONE;
  gst_structure_get_uint(s, "blend-chunks", &blend_chunks);
  gst_structure_get_uint64(s, "at", &at);
  if (const char* transition = gst_structure_get_string(s, "transition")) {
    if (g_str_equal(transition, "recache"))
      blend_chunks = FC_PROMPT_RECACHE;
    else if (!g_str_equal(transition, "blend"))
      return false;
  }
  return set_prompt_action(source, prompt, blend_chunks, at);
}

bool handle_navigation(GstElement* source, GstEvent* event) {
  const char* key = nullptr;
  if (gst_navigation_event_get_type(event) != GST_NAVIGATION_EVENT_KEY_PRESS ||
      !gst_navigation_event_parse_key_event(event, &key) || key == nullptr)
    return false;
  std::string prompt;
  {
    std::lock_guard lock(state_of(source).mutex);
    const auto& keys = state_of(source).keys;
    const auto found = keys.find(key);
    if (found == keys.end()) return false;
    prompt = found->second;
  }
  g_object_set(source, "prompt", prompt.c_str(), nullptr);
  return true;
}

void install_signals(GObjectClass* object_class) {
  const GType type = G_OBJECT_CLASS_TYPE(object_class);
  const auto flags = static_cast<GSignalFlags>(G_SIGNAL_RUN_LAST | G_SIGNAL_ACTION);
  g_signal_new_class_handler("set-prompt", type, flags, G_CALLBACK(set_prompt_action), nullptr, nullptr,
                             nullptr, G_TYPE_BOOLEAN, 3, G_TYPE_STRING, G_TYPE_UINT, G_TYPE_UINT64);
  g_signal_new_class_handler("reset", type, flags, G_CALLBACK(reset_action), nullptr, nullptr, nullptr,
                             G_TYPE_NONE, 1, G_TYPE_UINT64);
  g_signal_new_class_handler("request-stats", type, flags, G_CALLBACK(request_stats_action), nullptr, nullptr,
                             nullptr, G_TYPE_NONE, 0);
}

namespace {

constexpr size_t kMostWaiting = 64;  // largest number of prompts that wait for their time

GstStaticPadTemplate kPromptPad =
    GST_STATIC_PAD_TEMPLATE("prompt", GST_PAD_SINK, GST_PAD_REQUEST,
                            GST_STATIC_CAPS("text/x-raw, format = (string) { utf8, pango-markup }"));

// The buffer's text in one line.
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

// The timestamp of the frames that are shown at this running time.
GstClockTime frame_time(GstElement* element, GstClockTime running_time) {
  if (FLOWCACHE_IS_FILTER(element)) return running_time;  // its prompts are for times of its input
  const GstBaseSrc* source = GST_BASE_SRC(element);
  GST_OBJECT_LOCK(source);
  const guint64 position =
      gst_segment_position_from_running_time(&source->segment, GST_FORMAT_TIME, running_time);
  GST_OBJECT_UNLOCK(source);
  return GST_CLOCK_TIME_IS_VALID(position) ? position : running_time;
}

// The running time at which a buffer's prompt begins; NONE: at once. Nothing if the buffer is outside of its
// segment.
std::optional<GstClockTime> begin_of(GstPad* pad, GstElement* source, GstBuffer* buffer) {
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
  const auto begin = begin_of(pad, GST_ELEMENT(parent), buffer);
  if (!begin) return GST_FLOW_OK;
  change.at = *begin;
  {
    std::lock_guard lock(state.mutex);
    worker = state.worker;
    change.blend_chunks = state.settings.transition_chunks();
    if (change.text.empty()) change.text = state.settings.prompt;
  }
  const bool may_come = FLOWCACHE_IS_FILTER(parent);  // with its input
  if (!worker && !may_come) return GST_FLOW_FLUSHING;
  if (const auto problem = prompt_problem(change.text)) {
    post_change_refused(GST_ELEMENT(parent), "prompt", *problem);
    return GST_FLOW_OK;
  }
  const auto room = [&] {
    if (may_come) {
      std::lock_guard lock(state.mutex);
      worker = state.worker;
    }
    return worker && worker->prompts_waiting() < kMostWaiting;
  };
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
    GST_ELEMENT_ERROR(parent, LIBRARY, FAILED, ("The pad prompt failed: %s", defect.what()), (nullptr));
  }
  gst_buffer_unref(buffer);
  return flow;
}

// Events of the text do not go downstream, because the end or a flush of the text is not one of the video.
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
