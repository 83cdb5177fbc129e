// SPDX-License-Identifier: LGPL-2.1-or-later
/**
 * SECTION:element-flowcachefilter
 * @title: flowcachefilter
 *
 * Repaints a video, live or from a file, as a text prompt says.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 v4l2src ! videoconvertscale ! videorate ! flowcachefilter prompt="orange fire" ! videoconvert ! autovideosink
 * ]|
 * |[
 * gst-launch-1.0 filesrc location=in.mp4 ! decodebin ! videoconvertscale ! videorate ! flowcachefilter strength=0.5 ! x264enc ! mp4mux ! filesink location=out.mp4
 * ]|
 */
#include "flowcachefilter.h"

#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine.h"
#include "filter.h"
#include "messages.h"
#include "prompts.h"

G_DEFINE_TYPE_WITH_CODE(GstFlowCacheFilter, gst_flow_cache_filter, GST_TYPE_ELEMENT,
                        G_IMPLEMENT_INTERFACE(GST_TYPE_PRESET, nullptr))
GST_ELEMENT_REGISTER_DEFINE(flowcachefilter, "flowcachefilter", GST_RANK_NONE, FLOWCACHE_TYPE_FILTER)

namespace flowcache::gst::filtering {
namespace {

bool input_is_live(Call& call) {
  GstQuery* query = gst_query_new_latency();
  gboolean live = FALSE;
  if (gst_pad_peer_query(call.element->sink, query)) gst_query_parse_latency(query, &live, nullptr, nullptr);
  gst_query_unref(query);
  return live != FALSE;
}

std::vector<std::string> script_remarks(SourceState& state) {
  std::lock_guard lock(state.mutex);
  return state.script.remarks;
}

gboolean src_activate(GstPad* pad, GstObject* parent, GstPadMode mode, gboolean active) {
  if (mode != GST_PAD_MODE_PUSH) return FALSE;
  Call call(parent);
  if (!active) {
    interrupt(call);
    return gst_pad_stop_task(pad);
  }
  call.state.waiter.resume();
  call.filter.flow = GST_FLOW_OK;
  return gst_pad_start_task(pad, loop, call.element, nullptr);
}

GstStateChangeReturn change_state(GstElement* element, GstStateChange transition) {
  switch (transition) {
    case GST_STATE_CHANGE_NULL_TO_READY:
    case GST_STATE_CHANGE_READY_TO_PAUSED:
      open_prompt_pad(element);
      state_of(element).stopped_at = 0;
      state_of(element).reset_wanted = false;
      // Again in READY, because properties may have changed since.
      try {
        if (!prepare(element)) return GST_STATE_CHANGE_FAILURE;
        if (transition == GST_STATE_CHANGE_NULL_TO_READY) publish_context(element);
        if (transition == GST_STATE_CHANGE_READY_TO_PAUSED)
          warn_of_script(element, script_remarks(state_of(element)));
      } catch (const std::exception& defect) {
        GST_ELEMENT_ERROR(element, LIBRARY, FAILED, ("flowcachefilter failed: %s", defect.what()), (nullptr));
        return GST_STATE_CHANGE_FAILURE;
      }
      break;
    case GST_STATE_CHANGE_PAUSED_TO_PLAYING:
      state_of(element).stopped_at = GST_CLOCK_TIME_NONE;
      break;
    case GST_STATE_CHANGE_PLAYING_TO_PAUSED: {
      const PipelineClock clock(element);
      state_of(element).stopped_at = clock.clock() == nullptr ? 0 : clock.running_time();
      break;
    }
    case GST_STATE_CHANGE_PAUSED_TO_READY: {
      Call call(element);
      close_prompt_pad(element);
      interrupt(call);
      break;
    }
    default:
      break;
  }
  const GstStateChangeReturn result =
      GST_ELEMENT_CLASS(gst_flow_cache_filter_parent_class)->change_state(element, transition);
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY) {
    Call call(element);
    stop_worker(call);
    forget_all(call.filter);
    gst_clear_caps(&call.filter.caps);
    forget_caps(call.filter);
    gst_clear_tag_list(&call.filter.input_tags);
    gst_clear_tag_list(&call.filter.own_tags);
    call.filter.last_strength = -1;
    call.state.stats_due = GST_CLOCK_TIME_NONE;
    call.state.memory_path = MemoryPath::System;
    call.state.engine_writes_cuda = call.state.textures_from_cuda = true;
    call.state.gl.release_context();
    call.state.cuda.reset();
    call.filter.mismatch_told = false;
    call.filter.restart = call.filter.draining = call.filter.late_told = false;
    call.filter.let_out = call.filter.left_out = call.filter.quiet_told = call.filter.untimed_told =
        call.filter.back_told = false;
    call.filter.last_pts = GST_CLOCK_TIME_NONE;
  }
  if (transition == GST_STATE_CHANGE_READY_TO_NULL) {
    forget(state_of(element));
    state_of(element).gl.release();
    state_of(element).cuda.release();
  }
  return result;
}

void set_context(GstElement* element, GstContext* context) {
  state_of(element).gl.set_context(element, context);
  state_of(element).cuda.set_context(element, context);
  GST_ELEMENT_CLASS(gst_flow_cache_filter_parent_class)->set_context(element, context);
}

void finalize(GObject* object) {
  forget_all(*FLOWCACHE_FILTER(object)->filter);
  delete FLOWCACHE_FILTER(object)->filter;
  delete FLOWCACHE_FILTER(object)->state;
  G_OBJECT_CLASS(gst_flow_cache_filter_parent_class)->finalize(object);
}

}  // namespace

void stop_worker(Call& call) {
  std::shared_ptr<FrameWorker> worker;
  {
    std::lock_guard lock(call.state.mutex);
    worker = std::move(call.state.worker);
  }
  call.worker.reset();
  call.filter.last = {};
  if (!worker) return;
  worker->stop();
  std::lock_guard lock(call.state.mutex);
  call.state.engine = worker->engine();
  call.state.receipts.clear();
}

void start_worker(Call& call) {
  SourceState& state = call.state;
  const auto width = static_cast<uint32_t>(GST_VIDEO_INFO_WIDTH(&call.filter.info));
  const auto height = static_cast<uint32_t>(GST_VIDEO_INFO_HEIGHT(&call.filter.info));
  state.input_is_live = input_is_live(call);
  std::shared_ptr<LoadedEngine> unwanted;
  std::vector<PromptChange> early_prompts;
  {
    std::lock_guard lock(state.mutex);
    const EngineKey key{state.library, state.settings};
    if (state.engine && !(state.engine->key() == key)) unwanted = std::move(state.engine);
    reset_measures(state);
    state.collecting_seconds =
        static_cast<double>(state.model.frames_per_chunk) * state.model.fps_d / state.model.fps_n;
    state.latency.expect(2 * state.collecting_seconds);  // until it is known: as long as a chunk plays
    state.receipts.clear();
    state.messages = std::make_unique<WorkerMessages>(call.gst(), state.model, 0);
    StreamOptions options{.settings = state.settings};
    options.live = state.input_is_live;
    options.frames_per_chunk = state.model.frames_per_chunk;
    options.fed = true;
    options.strength = state.settings.strength;
    call.worker = state.worker = std::make_shared<FrameWorker>(
        key, std::move(options), state.settings.chunks_ahead, state.messages.get());
    early_prompts.swap(state.early_prompts);
  }
  for (PromptChange& change : early_prompts) call.worker->change_prompt(std::move(change));
  unwanted.reset();
  state.statistics.reset();
  WorkerMessages::post_progress(call.gst(), GST_PROGRESS_TYPE_START, "Loading the model");
  follow_script(call);
  call.worker->start(width, height);
  state.prompt_room.notify();  // prompts may have waited for it
}

void interrupt(Call& call) {
  call.filter.flow = GST_FLOW_FLUSHING;
  if (call.worker) call.worker->interrupt_feed(true);
  call.state.waiter.interrupt();
  { std::lock_guard lock(call.filter.mutex); }
  call.filter.fewer.notify_all();
}

}  // namespace flowcache::gst::filtering

static void gst_flow_cache_filter_init(GstFlowCacheFilter* filter) {
  const auto new_pad = [&](const char* name) {
    GstElementClass* klass = GST_ELEMENT_GET_CLASS(filter);
    return gst_pad_new_from_template(gst_element_class_get_pad_template(klass, name), name);
  };
  namespace element = flowcache::gst;
  filter->state = new element::SourceState;
  filter->filter = new element::FilterState;
  gst_segment_init(&filter->filter->segment, GST_FORMAT_TIME);
  gst_segment_init(&filter->filter->out_segment, GST_FORMAT_TIME);
  filter->sink = new_pad("sink");
  gst_pad_set_chain_function(filter->sink, element::filtering::chain);
  gst_pad_set_event_function(filter->sink, element::filtering::sink_event);
  gst_pad_set_query_function(filter->sink, element::filtering::sink_query);
  gst_element_add_pad(GST_ELEMENT(filter), filter->sink);
  filter->src = new_pad("src");
  gst_pad_set_event_function(filter->src, element::filtering::src_event);
  gst_pad_set_query_function(filter->src, element::filtering::src_query);
  gst_pad_set_activatemode_function(filter->src, element::filtering::src_activate);
  gst_pad_use_fixed_caps(filter->src);
  gst_element_add_pad(GST_ELEMENT(filter), filter->src);
}

static void gst_flow_cache_filter_class_init(GstFlowCacheFilterClass* klass) {
  namespace element = flowcache::gst;
  element::init_log();
  GObjectClass* object_class = G_OBJECT_CLASS(klass);
  object_class->set_property = element::set_property;
  object_class->get_property = element::get_property;
  object_class->finalize = element::filtering::finalize;
  element::install_properties(object_class, element::Elements::Filter);
  element::install_signals(object_class);
  element::register_meta();
  GstElementClass* element_class = GST_ELEMENT_CLASS(klass);
  element_class->change_state = element::filtering::change_state;
  element_class->set_context = element::filtering::set_context;
  element::install_pad_template(element_class, "sink", GST_PAD_SINK);
  element::install_pad_template(element_class, "src", GST_PAD_SRC);
  element::install_prompt_pad(element_class);
  gst_element_class_set_static_metadata(
      element_class, "FlowCache video-to-video filter", "Filter/Effect/Video",
      "Repaints a live or recorded video from a text prompt with a chunk-wise video diffusion model",
      "The gst-flowcache project");
}
