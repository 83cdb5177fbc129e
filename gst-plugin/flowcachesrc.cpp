// SPDX-License-Identifier: LGPL-2.1-or-later
/**
 * SECTION:element-flowcachesrc
 * @title: flowcachesrc
 *
 * A live source whose video is generated from a text prompt, chunk after chunk, without end.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 flowcachesrc prompt="orange fire" ! videoconvert ! autovideosink
 * ]|
 * |[
 * gst-launch-1.0 flowcachesrc is-live=false num-buffers=128 ! x264enc ! mp4mux ! filesink location=out.mp4
 * ]|
 * |[
 * gst-play-1.0 "flowcache:?prompt=orange%20fire&seed=3"
 * ]|
 */
#include "flowcachesrc.h"

#include <exception>

#include "engine.h"
#include "flowcachefilter.h"
#include "messages.h"
#include "prefix.h"
#include "prompts.h"
#include "timing.h"

G_DEFINE_TYPE_WITH_CODE(GstFlowCacheSrc, gst_flow_cache_src, GST_TYPE_PUSH_SRC,
                        G_IMPLEMENT_INTERFACE(GST_TYPE_PRESET, nullptr)
                            G_IMPLEMENT_INTERFACE(GST_TYPE_URI_HANDLER, flowcache::gst::install_uri_handler))
GST_ELEMENT_REGISTER_DEFINE(flowcachesrc, "flowcachesrc", GST_RANK_NONE, FLOWCACHE_TYPE_SRC)

namespace flowcache::gst {

GstBaseSrcClass* parent_class() {
  return GST_BASE_SRC_CLASS(gst_flow_cache_src_parent_class);
}

SourceState& state_of(gpointer element) {
  return FLOWCACHE_IS_FILTER(element) ? *FLOWCACHE_FILTER(element)->state : *FLOWCACHE_SRC(element)->state;
}

bool is_live(GstElement* element) {
  if (FLOWCACHE_IS_FILTER(element)) return state_of(element).input_is_live;
  return gst_base_src_is_live(GST_BASE_SRC(element)) != FALSE;
}

namespace {

// Runs the body of a vmethod. Exceptions must not leave it, because GLib cannot unwind.
template <typename Result, typename Body>
Result guarded(gpointer source, Result on_exception, Body body) noexcept {
  try {
    return body();
  } catch (const std::exception& defect) {
    GST_ELEMENT_ERROR(source, LIBRARY, FAILED, ("flowcachesrc failed: %s", defect.what()), (nullptr));
  } catch (...) {
    GST_ELEMENT_ERROR(source, LIBRARY, FAILED, ("flowcachesrc failed without saying why."), (nullptr));
  }
  return on_exception;
}

}  // namespace

bool prepare(GstElement* source) {
  SourceState& state = state_of(source);
  Settings settings;
  {
    std::lock_guard lock(state.mutex);
    settings = state.settings;
  }
  if (const auto problem = prompt_problem(settings.prompt)) {
    GST_ELEMENT_ERROR(source, RESOURCE, SETTINGS, ("%s", problem->c_str()), ("property prompt"));
    return false;
  }
  if (const auto problem = prompt_problem(settings.negative_prompt)) {
    GST_ELEMENT_ERROR(source, RESOURCE, SETTINGS, ("%s", problem->c_str()), ("property negative-prompt"));
    return false;
  }
  std::string tried;
  const EngineLibrary* library = EngineLibrary::open(&tried);
  if (library == nullptr) {
    GST_ELEMENT_ERROR(source, LIBRARY, INIT,
                      ("The FlowCache engine cannot be opened. Build or install libflowcache, or name it in "
                       "FLOWCACHE_ENGINE. Tried: %s",
                       tried.c_str()),
                      ("no usable libflowcache.so"));
    return false;
  }
  fc_model_info model{};
  model.size = sizeof model;
  const char* folder = settings.model.empty() ? nullptr : settings.model.c_str();
  const fc_status status = library->model_describe(folder, &model);
  if (status != FC_OK) {
    post_engine_error(source, status, last_error_of(*library));
    return false;
  }
  if (!is_complete(model)) {
    post_engine_error(source, FC_ERROR_MODEL, "The model's description lacks its size or frame rate.");
    return false;
  }
  Script script;
  if (!settings.script_location.empty()) {
    std::string problem;
    script = load_script(settings.script_location, &problem);
    if (script.cues.empty()) {
      GST_ELEMENT_ERROR(source, RESOURCE, OPEN_READ, ("%s", problem.c_str()), ("property script-location"));
      return false;
    }
  }
  std::string problem;
  KeyPrompts keys = parse_key_prompts(settings.key_prompts, &problem);
  if (!problem.empty()) {
    GST_ELEMENT_ERROR(source, RESOURCE, SETTINGS, ("%s", problem.c_str()), ("property key-prompts"));
    return false;
  }
  std::lock_guard lock(state.mutex);
  state.library = library;
  state.model = model;
  state.script = std::move(script);
  state.keys = std::move(keys);
  return true;
}

void warn_of_script(GstElement* element, const std::vector<std::string>& remarks) {
  for (const std::string& remark : remarks)
    GST_ELEMENT_WARNING(element, RESOURCE, SETTINGS, ("%s", remark.c_str()), ("property script-location"));
}

void reset_measures(SourceState& state) {
  state.timeline.reset(state.model.fps_n, state.model.fps_d);
  state.latency.reset(state.timeline.frame_duration(), state.model.frames_per_chunk);
  state.qos.reset(state.timeline.frame_duration(), state.model.frames_per_chunk, state.settings.chunks_ahead);
  state.qos_warned = false;
  state.speed.reset(static_cast<double>(state.model.frames_per_chunk) * state.model.fps_d /
                    state.model.fps_n);
}

void forget(SourceState& state) {
  std::shared_ptr<LoadedEngine> engine;  // destroyed after the lock is released
  std::lock_guard lock(state.mutex);
  engine = std::move(state.engine);
  state.model = {};
  state.script = {};
  state.library = nullptr;
}

namespace {

gboolean start_stream(GstFlowCacheSrc* source) {
  SourceState& state = state_of(source);
  if (!prepare(GST_ELEMENT(source))) return FALSE;  // again, because properties may have changed since READY
  std::shared_ptr<LoadedEngine> unwanted;
  std::shared_ptr<FrameWorker> worker;
  std::vector<PromptChange> early_prompts;
  std::vector<std::string> remarks;
  {
    std::lock_guard lock(state.mutex);
    remarks = state.script.remarks;
    const EngineKey key{state.library, state.settings};
    if (state.engine && !(state.engine->key() == key)) unwanted = std::move(state.engine);
    reset_measures(state);
    state.timeline.set_offset(state.settings.timestamp_offset);
    const gint buffers = GST_BASE_SRC(source)->num_buffers;
    state.progress = {.most_buffers = buffers < 0 ? G_MAXUINT64 : static_cast<guint64>(buffers)};
    state.receipts.clear();
    state.lora_receipts.clear();
    state.messages =
        std::make_unique<WorkerMessages>(GST_ELEMENT(source), state.model, state.settings.timestamp_offset);
    StreamOptions options{.settings = state.settings};
    options.script_blend_chunks = state.settings.transition_chunks();
    options.live = gst_base_src_is_live(GST_BASE_SRC(source));
    options.frames_per_chunk = state.model.frames_per_chunk;
    options.script = scripted_prompts(state.script.cues, state.model, &remarks);
    if (const std::string& path = state.settings.prefix_location; !path.empty()) {
      options.prefix = [path](uint32_t width, uint32_t height, const std::function<bool()>& go_on,
                              std::string* error) { return load_prefix(path, width, height, go_on, error); };
    }
    state.end_frame = G_MAXUINT64;
    if (state.settings.end_with_script && !state.script.cues.empty()) {
      state.end_frame = frame_at(state.model, end_of(state.script.cues));
      options.chunks = chunk_from(state.model, state.end_frame);
    }
    worker = std::make_shared<FrameWorker>(key, std::move(options), state.settings.chunks_ahead,
                                           state.messages.get());
    state.worker = worker;
    early_prompts.swap(state.early_prompts);
  }
  for (PromptChange& change : early_prompts) worker->change_prompt(std::move(change));
  warn_of_script(GST_ELEMENT(source), remarks);
  unwanted.reset();  // before the new model is loaded, so that memory need not hold both
  state.statistics.reset();
  state.reanchor = false;
  state.last = {};
  state.repeating = false;
  state.engine_writes_cuda = state.textures_from_cuda = true;
  state.discont = false;
  state.segment_start = 0;
  state.first_frame = 0;
  state.gaps_begun = state.black = false;
  state.stats_due = GST_CLOCK_TIME_NONE;
  WorkerMessages::post_progress(GST_ELEMENT(source), GST_PROGRESS_TYPE_START, "Loading the model");
  return TRUE;  // the worker begins when the size of the picture is known: set_caps()
}

gboolean start(GstBaseSrc* base) {
  return guarded(base, FALSE, [&] { return start_stream(FLOWCACHE_SRC(base)); });
}

gboolean stop(GstBaseSrc* base) {
  return guarded(base, FALSE, [&] {
    SourceState& state = state_of(base);
    std::shared_ptr<FrameWorker> worker;
    {
      std::lock_guard lock(state.mutex);
      worker = std::move(state.worker);
    }
    state.last = {};
    state.memory_path = MemoryPath::System;
    state.gl.release_context();
    state.cuda.reset();
    if (!worker) return TRUE;
    worker->stop();
    std::lock_guard lock(state.mutex);
    state.engine = worker->engine();
    state.receipts.clear();
    state.lora_receipts.clear();
    return TRUE;
  });
}

void set_context(GstElement* element, GstContext* context) {
  state_of(element).gl.set_context(element, context);
  state_of(element).cuda.set_context(element, context);
  GST_ELEMENT_CLASS(parent_class())->set_context(element, context);
}

gboolean unlock(GstBaseSrc* base) {
  state_of(base).waiter.interrupt();
  return TRUE;
}

gboolean unlock_stop(GstBaseSrc* base) {
  state_of(base).waiter.resume();
  return TRUE;
}

// The element waits for the clock itself (see Waiter), so the base class must not wait.
void get_times(GstBaseSrc*, GstBuffer*, GstClockTime* begin, GstClockTime* end) {
  *begin = *end = GST_CLOCK_TIME_NONE;
}

}  // namespace

void publish_context(GstElement* element) {
  SourceState& state = state_of(element);
  std::string device;
  {
    std::lock_guard lock(state.mutex);
    device = state.settings.device;
  }
  state.cuda.open(element, device);
}

namespace {

// Applies an is-live that was set while a stream ran; it holds from the next stream on.
void apply_live(GstElement* element) {
  SourceState& state = state_of(element);
  bool live = true;
  {
    std::lock_guard lock(state.mutex);
    live = state.settings.live;
  }
  gst_base_src_set_live(GST_BASE_SRC(element), live);
}

GstStateChangeReturn change_state(GstElement* element, GstStateChange transition) {
  SourceState& state = state_of(element);
  switch (transition) {
    case GST_STATE_CHANGE_NULL_TO_READY:
      if (!guarded(element, false, [&] { return prepare(element); })) return GST_STATE_CHANGE_FAILURE;
      publish_context(element);
      break;
    case GST_STATE_CHANGE_READY_TO_PAUSED:
      open_prompt_pad(element);
      apply_live(element);
      state.stopped_at = 0;
      state.waiter.pause();
      break;
    case GST_STATE_CHANGE_PLAYING_TO_PAUSED: {
      const PipelineClock clock(element);
      state.stopped_at = clock.clock() == nullptr ? 0 : clock.running_time();
      state.waiter.pause();
      break;
    }
    case GST_STATE_CHANGE_PAUSED_TO_READY:
      close_prompt_pad(element);
      break;
    case GST_STATE_CHANGE_PAUSED_TO_PLAYING:
      state.stopped_at = GST_CLOCK_TIME_NONE;
      state.waiter.unpause();
      break;
    default:
      break;
  }
  const GstStateChangeReturn result = GST_ELEMENT_CLASS(parent_class())->change_state(element, transition);
  if (transition == GST_STATE_CHANGE_READY_TO_NULL) {
    forget(state);
    state.gl.release();
    state.cuda.release();
  }
  return result;
}

void finalize(GObject* object) {
  delete FLOWCACHE_SRC(object)->state;
  G_OBJECT_CLASS(gst_flow_cache_src_parent_class)->finalize(object);
}

}  // namespace
}  // namespace flowcache::gst

static void gst_flow_cache_src_init(GstFlowCacheSrc* source) {
  source->state = new flowcache::gst::SourceState;
  gst_video_info_init(&source->state->info);
  gst_base_src_set_live(GST_BASE_SRC(source), TRUE);
  gst_base_src_set_format(GST_BASE_SRC(source), GST_FORMAT_TIME);
}

static void gst_flow_cache_src_class_init(GstFlowCacheSrcClass* klass) {
  namespace element = flowcache::gst;
  element::init_log();

  GObjectClass* object_class = G_OBJECT_CLASS(klass);
  object_class->set_property = element::set_property;
  object_class->get_property = element::get_property;
  object_class->finalize = element::finalize;
  element::install_properties(object_class, element::Elements::Source);
  element::install_signals(object_class);
  element::register_meta();

  GstElementClass* element_class = GST_ELEMENT_CLASS(klass);
  element_class->change_state = element::change_state;
  element_class->send_event = element::send_event;
  element_class->set_context = element::set_context;
  element::install_pad_template(element_class, "src", GST_PAD_SRC);
  element::install_prompt_pad(element_class);
  gst_element_class_set_static_metadata(
      element_class, "FlowCache text-to-video source", "Source/Video",
      "Live video generated from a text prompt by a chunk-wise video diffusion model with FlowCache",
      "The gst-flowcache project");

  GstBaseSrcClass* base_class = GST_BASE_SRC_CLASS(klass);
  base_class->start = GST_DEBUG_FUNCPTR(element::start);
  base_class->stop = GST_DEBUG_FUNCPTR(element::stop);
  base_class->unlock = GST_DEBUG_FUNCPTR(element::unlock);
  base_class->unlock_stop = GST_DEBUG_FUNCPTR(element::unlock_stop);
  base_class->is_seekable = GST_DEBUG_FUNCPTR(element::is_seekable);
  base_class->do_seek = GST_DEBUG_FUNCPTR(element::do_seek);
  base_class->get_times = GST_DEBUG_FUNCPTR(element::get_times);
  base_class->get_caps = GST_DEBUG_FUNCPTR(element::get_caps);
  base_class->fixate = GST_DEBUG_FUNCPTR(element::fixate);
  base_class->set_caps = GST_DEBUG_FUNCPTR(element::set_caps);
  base_class->negotiate = GST_DEBUG_FUNCPTR(element::negotiate);
  base_class->decide_allocation = GST_DEBUG_FUNCPTR(element::decide_allocation);
  base_class->query = GST_DEBUG_FUNCPTR(element::query);
  base_class->event = GST_DEBUG_FUNCPTR(element::event);
  GST_PUSH_SRC_CLASS(klass)->create = GST_DEBUG_FUNCPTR(element::create);
}
