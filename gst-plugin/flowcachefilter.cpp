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

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "engine.h"
#include "flowcachesrc.h"
#include "messages.h"
#include "prompts.h"

G_DEFINE_TYPE_WITH_CODE(GstFlowCacheFilter, gst_flow_cache_filter, GST_TYPE_ELEMENT,
                        G_IMPLEMENT_INTERFACE(GST_TYPE_PRESET, nullptr))
GST_ELEMENT_REGISTER_DEFINE(flowcachefilter, "flowcachefilter", GST_RANK_NONE, FLOWCACHE_TYPE_FILTER)

namespace flowcache::gst {

// The time of a frame that went in.
struct Stamp {
  GstClockTime pts = GST_CLOCK_TIME_NONE, duration = GST_CLOCK_TIME_NONE;
  guint64 offset = GST_BUFFER_OFFSET_NONE;
  bool discont = false;
};
// All frames of chunks before this one that are still in the ring belong to no input.
struct DiscardBefore {
  guint64 chunk;
};
struct EventItem {
  GstEvent* event;  // owned until it is pushed
};
using Item = std::variant<Stamp, DiscardBefore, EventItem>;

// What a filter has besides SourceState. `mutex` is not held while anything else is called.
struct FilterState {
  std::mutex mutex;
  // ---- under `mutex`
  std::deque<Item> items;  // for the source pad's task, in the order of the stream
  bool task_is_busy = false;
  std::condition_variable fewer;  // items

  std::atomic<GstFlowReturn> flow{GST_FLOW_OK};  // of the source pad
  std::atomic<bool> mismatch_told{false};        // that upstream can give nothing that the model takes
  std::atomic<bool> draining{false};             // no further frames come for the stamps in `items`

  // ---- input's thread
  GstVideoInfo info;
  GstCaps* caps = nullptr;
  std::vector<GstBuffer*> collected;  // frames of the next chunk
  std::vector<Item> pending;          // their stamps, and the events between them
  uint32_t wanted = 0;                // frames of the next chunk; 0: not yet known
  bool restart = false;               // the next chunk does not follow the one before
  bool late_told = false;
  GstClockTime next_pts = 0;
  GstSegment segment;

  // ---- the source pad's task
  GstVideoInfo out_info;
  GstBufferPool* pool = nullptr;
  GstSegment out_segment;
  Frame last;
  double last_strength = -1;
  GstClockTime stats_due = GST_CLOCK_TIME_NONE;
};

// Not unnamed: its names are as short as those of the source's files, which are compiled together with this one.
namespace filtering {

GstStaticPadTemplate kSinkTemplate = GST_STATIC_PAD_TEMPLATE(
    "sink", GST_PAD_SINK, GST_PAD_ALWAYS,
    GST_STATIC_CAPS(GST_VIDEO_CAPS_MAKE("{ NV12, RGBA, I420 }") ", interlace-mode = progressive"));
GstStaticPadTemplate kSrcTemplate = GST_STATIC_PAD_TEMPLATE(
    "src", GST_PAD_SRC, GST_PAD_ALWAYS,
    GST_STATIC_CAPS(GST_VIDEO_CAPS_MAKE("{ NV12, RGBA, I420 }") ", interlace-mode = progressive"));

// One call into the element.
struct Call {
  GstFlowCacheFilter* element;
  SourceState& state;
  FilterState& filter;
  std::shared_ptr<FrameWorker> worker;

  explicit Call(gpointer object)
      : element(FLOWCACHE_FILTER(object)), state(*element->state), filter(*element->filter) {
    std::lock_guard lock(state.mutex);
    worker = state.worker;
  }
  Settings settings() const {
    std::lock_guard lock(state.mutex);
    return state.settings;
  }
  GstElement* gst() const { return GST_ELEMENT(element); }
};

// ---- items

void append(Call& call, std::vector<Item> items) {
  {
    std::lock_guard lock(call.filter.mutex);
    for (Item& item : items) call.filter.items.push_back(std::move(item));
  }
  call.state.waiter.notify();
}

void drop_items(std::vector<Item>& items) {
  for (Item& item : items)
    if (auto* event = std::get_if<EventItem>(&item)) gst_event_unref(event->event);
  items.clear();
}

void forget_collected(FilterState& filter) {
  for (GstBuffer* buffer : filter.collected) gst_buffer_unref(buffer);
  filter.collected.clear();
  drop_items(filter.pending);
  filter.wanted = 0;
}

void forget_all(FilterState& filter) {
  forget_collected(filter);
  std::lock_guard lock(filter.mutex);
  for (Item& item : filter.items)
    if (auto* event = std::get_if<EventItem>(&item)) gst_event_unref(event->event);
  filter.items.clear();
  filter.fewer.notify_all();
}

// ---- input: frames

// The frames of a chunk, mapped for as long as this exists.
class MappedFrames {
 public:
  MappedFrames(const std::vector<GstBuffer*>& buffers, const GstVideoInfo& info) : frames_(buffers.size()) {
    for (; mapped_ < buffers.size(); ++mapped_)
      if (!gst_video_frame_map(&frames_[mapped_], &info, buffers[mapped_], GST_MAP_READ)) return;
    all_ = true;
  }
  ~MappedFrames() {
    for (size_t i = 0; i < mapped_; ++i) gst_video_frame_unmap(&frames_[i]);
  }
  MappedFrames(const MappedFrames&) = delete;
  MappedFrames& operator=(const MappedFrames&) = delete;

  bool all() const { return all_; }
  // `count` of them: the last one is repeated.
  std::vector<fc_planes> planes(uint32_t count) {
    std::vector<fc_planes> all;
    for (uint32_t i = 0; i < count; ++i)
      all.push_back(planes_of(&frames_[std::min<size_t>(i, frames_.size() - 1)], FC_MEMORY_HOST));
    return all;
  }

 private:
  std::vector<GstVideoFrame> frames_;
  size_t mapped_ = 0;
  bool all_ = false;
};

void tell_late(Call& call) {
  call.state.statistics.skipped(call.filter.collected.size());
  if (std::exchange(call.filter.late_told, true)) return;
  GST_ELEMENT_WARNING(
      call.element, RESOURCE, BUSY,
      ("This machine is too slow for the input: frames are left out (late=drop). Take fewer steps, a "
       "lower strength, a smaller picture or a lower rate; stats counts them as skipped."),
      ("said once until it keeps up again"));
}

// Feeds the collected frames; a part of a chunk is filled up with its last frame. wait: whatever `late` says.
GstFlowReturn submit(Call& call, bool wait) {
  FilterState& filter = call.filter;
  const Settings settings = call.settings();
  const bool may_drop = settings.late == LatePolicy::Drop && call.state.input_is_live && !wait;
  FrameWorker::Fed fed = FrameWorker::Fed::Stopped;
  {
    MappedFrames frames(filter.collected, filter.info);
    if (!frames.all()) {
      GST_ELEMENT_ERROR(call.element, RESOURCE, READ, ("A frame of the input cannot be mapped."), (nullptr));
      return GST_FLOW_ERROR;
    }
    const std::vector<fc_planes> planes = frames.planes(filter.wanted);
    fc_feed feed = fc_feed_init();
    feed.frames = planes.data();
    feed.count = filter.wanted;
    feed.strength = settings.strength;
    feed.restart = filter.restart ? 1 : 0;
    call.filter.draining = false;
    fed = call.worker->feed(feed, !may_drop);
  }
  if (fed == FrameWorker::Fed::Stopped) {
    const GstFlowReturn flow = filter.flow;
    return flow != GST_FLOW_OK ? flow : GST_FLOW_ERROR;  // the worker has said why
  }
  const bool dropped = fed == FrameWorker::Fed::Busy;
  if (dropped) {
    tell_late(call);
    std::erase_if(filter.pending, [](const Item& item) { return std::holds_alternative<Stamp>(item); });
  } else {
    filter.late_told = false;
  }
  filter.restart = dropped;
  append(call, std::exchange(filter.pending, {}));
  forget_collected(filter);
  return GST_FLOW_OK;
}

// Waits until the source pad's task has nothing left to do. False if it will not do it.
bool wait_for_task(Call& call) {
  std::unique_lock lock(call.filter.mutex);
  call.filter.fewer.wait(lock, [&] {
    return (call.filter.items.empty() && !call.filter.task_is_busy) || call.filter.flow != GST_FLOW_OK;
  });
  return call.filter.flow == GST_FLOW_OK;
}

// Lets all that has come in go out, and waits for that: a part of a chunk is filled up, and what was added to it is not shown.
void drain(Call& call) {
  FilterState& filter = call.filter;
  if (!call.worker || filter.flow != GST_FLOW_OK) return;
  if (!filter.collected.empty() && submit(call, /*wait=*/true) != GST_FLOW_OK) return;
  if (!call.worker->is_open_for_feed() || call.worker->chunks_fed() == 0) return;
  call.worker->drain();
  filter.draining = true;
  filter.restart = true;
  append(call, {DiscardBefore{call.worker->chunks_fed()}});
  // With several chunks in flight the engine has begun some of them without a picture.
  if (wait_for_task(call) && call.worker->chunks_in_flight() > 1) call.worker->reset(std::nullopt);
}

Stamp stamp_of(FilterState& filter, GstBuffer* buffer) {
  Stamp stamp;
  stamp.pts = GST_BUFFER_PTS_IS_VALID(buffer) ? GST_BUFFER_PTS(buffer) : filter.next_pts;
  stamp.duration = GST_BUFFER_DURATION(buffer);
  if (!GST_BUFFER_DURATION_IS_VALID(buffer))
    stamp.duration = gst_util_uint64_scale(GST_SECOND, static_cast<guint64>(filter.info.fps_d),
                                           static_cast<guint64>(filter.info.fps_n));
  stamp.offset = GST_BUFFER_OFFSET(buffer);
  stamp.discont = GST_BUFFER_IS_DISCONT(buffer);
  filter.next_pts = stamp.pts + stamp.duration;
  return stamp;
}

// The properties' controllers take the time of the chunk's first frame.
void follow_controllers(Call& call, GstClockTime pts) {
  const guint64 time = gst_segment_to_stream_time(&call.filter.segment, GST_FORMAT_TIME, pts);
  if (GST_CLOCK_TIME_IS_VALID(time)) gst_object_sync_values(GST_OBJECT(call.element), time);
}

GstFlowReturn take_frame(Call& call, GstBuffer* buffer) {
  FilterState& filter = call.filter;
  if (!call.worker) return GST_FLOW_NOT_NEGOTIATED;
  if (const GstFlowReturn flow = filter.flow; flow != GST_FLOW_OK) return flow;
  if (filter.wanted == 0) {
    // A live input does not wait while the model loads.
    const bool may_drop = call.state.input_is_live && call.settings().late == LatePolicy::Drop;
    if (may_drop && !call.worker->is_open_for_feed()) return GST_FLOW_OK;
    filter.wanted = call.worker->frames_wanted();
    if (filter.wanted == 0) {
      const GstFlowReturn flow = filter.flow;
      return flow != GST_FLOW_OK ? flow : GST_FLOW_ERROR;
    }
  }
  if (filter.collected.empty() && call.state.reset_wanted.exchange(false)) {
    drain(call);
    call.worker->reset(call.settings().seed);
    filter.wanted = call.worker->frames_wanted();
    if (filter.wanted == 0) return filter.flow == GST_FLOW_OK ? GST_FLOW_ERROR : GstFlowReturn{filter.flow};
  }
  const Stamp stamp = stamp_of(filter, buffer);
  if (filter.collected.empty()) follow_controllers(call, stamp.pts);
  filter.pending.emplace_back(stamp);
  filter.collected.push_back(gst_buffer_ref(buffer));
  return filter.collected.size() < filter.wanted ? GST_FLOW_OK : submit(call, /*wait=*/false);
}

GstFlowReturn chain(GstPad*, GstObject* parent, GstBuffer* buffer) noexcept {
  GstFlowReturn flow = GST_FLOW_ERROR;
  try {
    Call call(parent);
    flow = take_frame(call, buffer);
  } catch (const std::exception& defect) {
    GST_ELEMENT_ERROR(parent, LIBRARY, FAILED, ("flowcachefilter failed: %s", defect.what()), (nullptr));
  }
  gst_buffer_unref(buffer);
  return flow;
}

// ---- input: caps and events

// What the model can take: its sizes, and its own rate.
GstCaps* own_caps(const fc_model_info& model) {
  GstCaps* caps = caps_of(model);
  for (guint i = 0; i < gst_caps_get_size(caps); ++i)
    gst_structure_set(gst_caps_get_structure(caps, i), "framerate", GST_TYPE_FRACTION,
                      static_cast<int>(model.fps_n), static_cast<int>(model.fps_d), nullptr);
  return caps;
}

GstCaps* sink_caps(Call& call, GstCaps* filter) {
  fc_model_info model{};
  {
    std::lock_guard lock(call.state.mutex);
    model = call.state.model;
  }
  GstCaps* caps = model.width > 0 ? own_caps(model) : gst_pad_get_pad_template_caps(call.element->sink);
  // What goes out has the format of what comes in.
  GstCaps* wanted = gst_pad_peer_query_caps(call.element->src, caps);
  GstCaps* common = gst_caps_intersect_full(wanted, caps, GST_CAPS_INTERSECT_FIRST);
  gst_caps_unref(wanted);
  gst_caps_unref(caps);
  if (filter == nullptr) return common;
  GstCaps* filtered = gst_caps_intersect_full(filter, common, GST_CAPS_INTERSECT_FIRST);
  gst_caps_unref(common);
  return filtered;
}

std::string mismatch(const GstCaps* ours, const GstCaps* input) {
  return "The model cannot take this input. " +
         explain_mismatch(ours, input, {"the model takes", "the input has"}) +
         ". Put videoconvertscale ! videorate before flowcachefilter.";
}

// Upstream asks what the filter takes of these caps, and ends with an error of its own that does not say why.
void explain_refusal(Call& call, const GstCaps* input) {
  fc_model_info model{};
  {
    std::lock_guard lock(call.state.mutex);
    model = call.state.model;
  }
  if (model.width == 0 || input == nullptr || gst_caps_is_any(input) || gst_caps_is_empty(input)) return;
  GstCaps* ours = own_caps(model);
  if (!gst_caps_can_intersect(ours, input) && !call.filter.mismatch_told.exchange(true))
    GST_ELEMENT_WARNING(call.element, CORE, NEGOTIATION, ("%s", mismatch(ours, input).c_str()),
                        ("ours: %" GST_PTR_FORMAT ", input: %" GST_PTR_FORMAT, ours, input));
  gst_caps_unref(ours);
}

bool input_is_live(Call& call) {
  GstQuery* query = gst_query_new_latency();
  gboolean live = FALSE;
  if (gst_pad_peer_query(call.element->sink, query)) gst_query_parse_latency(query, &live, nullptr, nullptr);
  gst_query_unref(query);
  return live != FALSE;
}

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

// Starts a worker for pictures of the input's size.
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
    state.receipts.clear();
    state.messages = std::make_unique<WorkerMessages>(call.gst(), state.model, 0);
    StreamOptions options{.settings = state.settings};
    options.live = state.input_is_live;
    options.frames_per_chunk = state.model.frames_per_chunk;
    options.fed = true;
    call.worker = state.worker = std::make_shared<FrameWorker>(
        key, std::move(options), state.settings.chunks_ahead, state.messages.get());
    early_prompts.swap(state.early_prompts);
  }
  for (PromptChange& change : early_prompts) call.worker->change_prompt(std::move(change));
  unwanted.reset();
  state.statistics.reset();
  WorkerMessages::post_progress(call.gst(), GST_PROGRESS_TYPE_START, "Loading the model");
  call.worker->start(width, height);
}

bool take_caps(Call& call, GstEvent* event) {
  FilterState& filter = call.filter;
  GstCaps* caps = nullptr;
  gst_event_parse_caps(event, &caps);
  if (filter.caps != nullptr && gst_caps_is_equal(filter.caps, caps)) {
    append(call, {EventItem{event}});
    return true;
  }
  fc_model_info model{};
  {
    std::lock_guard lock(call.state.mutex);
    model = call.state.model;
  }
  GstCaps* ours = own_caps(model);
  GstVideoInfo info;
  const bool accepted = gst_caps_can_intersect(ours, caps) && gst_video_info_from_caps(&info, caps);
  if (!accepted) {
    GST_ELEMENT_ERROR(call.element, CORE, NEGOTIATION, ("%s", mismatch(ours, caps).c_str()),
                      ("ours: %" GST_PTR_FORMAT ", input: %" GST_PTR_FORMAT, ours, caps));
    gst_event_unref(event);
  }
  gst_caps_unref(ours);
  if (!accepted) return false;
  const bool begun = call.worker != nullptr;
  const bool same_size = begun && GST_VIDEO_INFO_WIDTH(&info) == GST_VIDEO_INFO_WIDTH(&filter.info) &&
                         GST_VIDEO_INFO_HEIGHT(&info) == GST_VIDEO_INFO_HEIGHT(&filter.info);
  if (begun) drain(call);
  if (begun && !same_size) stop_worker(call);
  gst_caps_replace(&filter.caps, caps);
  filter.info = info;
  append(call, {EventItem{event}});
  if (!same_size) start_worker(call);
  return true;
}

// Called with the input's stream lock.
void flush_stop(Call& call, GstEvent* event) {
  gst_pad_stop_task(call.element->src);
  forget_all(call.filter);
  if (call.worker) call.worker->reset(std::nullopt);
  call.filter.last = {};
  call.filter.restart = false;
  call.filter.draining = false;
  gst_segment_init(&call.filter.segment, GST_FORMAT_TIME);
  if (call.worker) call.worker->interrupt_feed(false);
  call.state.waiter.resume();
  call.filter.flow = GST_FLOW_OK;
  gst_pad_push_event(call.element->src, event);
}

void loop(gpointer data);

bool take_event(Call& call, GstPad* pad, GstEvent* event) {
  FilterState& filter = call.filter;
  switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_FLUSH_START: {
      const gboolean done = gst_pad_push_event(call.element->src, event);
      filter.flow = GST_FLOW_FLUSHING;
      if (call.worker) call.worker->interrupt_feed(true);
      call.state.waiter.interrupt();
      { std::lock_guard lock(filter.mutex); }
      filter.fewer.notify_all();
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

gboolean sink_event(GstPad* pad, GstObject* parent, GstEvent* event) noexcept {
  try {
    Call call(parent);
    return take_event(call, pad, event);
  } catch (const std::exception& defect) {
    GST_ELEMENT_ERROR(parent, LIBRARY, FAILED, ("flowcachefilter failed: %s", defect.what()), (nullptr));
    return FALSE;
  }
}

gboolean sink_query(GstPad* pad, GstObject* parent, GstQuery* query) {
  Call call(parent);
  switch (GST_QUERY_TYPE(query)) {
    case GST_QUERY_CAPS: {
      GstCaps* filter = nullptr;
      gst_query_parse_caps(query, &filter);
      GstCaps* caps = sink_caps(call, filter);
      if (gst_caps_is_empty(caps)) explain_refusal(call, filter);
      gst_query_set_caps_result(query, caps);
      gst_caps_unref(caps);
      return TRUE;
    }
    case GST_QUERY_ACCEPT_CAPS: {
      // All raw video, so that the event comes and the error can say what does not fit.
      GstCaps* caps = nullptr;
      gst_query_parse_accept_caps(query, &caps);
      const bool raw = gst_caps_get_size(caps) == 1 && memory_kind_of(caps) == MemoryKind::System &&
                       gst_structure_has_name(gst_caps_get_structure(caps, 0), "video/x-raw");
      gst_query_set_accept_caps_result(query, raw);
      return TRUE;
    }
    case GST_QUERY_ALLOCATION:
      return FALSE;  // buffers are read as they are
    default:
      return gst_pad_query_default(pad, parent, query);
  }
}

// ---- output

GstClockTime running_time(const FilterState& filter, GstClockTime pts) {
  return gst_segment_to_running_time(&filter.out_segment, GST_FORMAT_TIME, pts);
}

// At the first frame of a chunk: what became of prompts and strength.
void report_chunk(Call& call, const Frame& frame, GstClockTime pts) {
  const fc_chunk_info& chunk = frame.chunk->info();
  const GstClockTime running = running_time(call.filter, pts);
  bool cut = false;
  for (const PromptReceipt& receipt : settled_receipts(call.state, chunk)) {
    const bool applied = receipt.ticket == chunk.prompt_ticket;
    cut = cut || (applied && receipt.ticket != 0 && receipt.blend_chunks == 0);
    post_prompt(call.gst(), applied ? PromptStage::Applied : PromptStage::Replaced, receipt, &chunk, running);
  }
  report_loras(call.gst(), call.state, chunk, running);
  if (cut)
    gst_pad_push_event(call.element->src,
                       gst_video_event_new_downstream_force_key_unit(
                           pts, gst_segment_to_stream_time(&call.filter.out_segment, GST_FORMAT_TIME, pts),
                           running, FALSE, 0));
  if (std::exchange(call.filter.last_strength, chunk.strength) != chunk.strength)
    gst_element_post_message(
        call.gst(),
        gst_message_new_element(
            GST_OBJECT(call.element),
            gst_structure_new("flowcache-strength", "strength", G_TYPE_DOUBLE, chunk.strength, "chunk",
                              G_TYPE_UINT64, chunk.chunk, "pts", G_TYPE_UINT64, running, nullptr)));
  if (call.settings().report_chunks) post_chunk(call.gst(), chunk, running);
}

void report_statistics(Call& call, GstClockTime running) {
  const GstClockTime interval = call.settings().stats_interval;
  GstClockTime& due = call.filter.stats_due;
  if (interval == 0 || !GST_CLOCK_TIME_IS_VALID(running) || (GST_CLOCK_TIME_IS_VALID(due) && running < due))
    return;
  const bool first = !GST_CLOCK_TIME_IS_VALID(due);
  due = running + MIN(interval, GST_CLOCK_TIME_NONE - 1 - running);
  if (!first)
    gst_element_post_message(call.gst(),
                             gst_message_new_element(GST_OBJECT(call.element), make_stats(call.state)));
}

GstFlowReturn make_buffer(Call& call, const Frame& frame, GstBuffer** buffer) {
  const GstFlowReturn flow = gst_buffer_pool_acquire_buffer(call.filter.pool, buffer, nullptr);
  if (flow != GST_FLOW_OK) return flow;
  GstVideoFrame video;
  std::string error = "A buffer cannot be mapped.";
  fc_status status = FC_ERROR_DEVICE;
  if (gst_video_frame_map(&video, &call.filter.out_info, *buffer, GST_MAP_WRITE)) {
    status = frame.chunk->write(frame.index, planes_of(&video, FC_MEMORY_HOST), &error);
    gst_video_frame_unmap(&video);
  }
  if (status == FC_OK) return GST_FLOW_OK;
  gst_clear_buffer(buffer);
  post_engine_error(call.gst(), status, error);
  return GST_FLOW_ERROR;
}

GstFlowReturn push_frame(Call& call, const Frame& frame, const Stamp& stamp, bool again) {
  GstBuffer* buffer = nullptr;
  if (const GstFlowReturn flow = make_buffer(call, frame, &buffer); flow != GST_FLOW_OK) return flow;
  GST_BUFFER_PTS(buffer) = stamp.pts;
  GST_BUFFER_DTS(buffer) = GST_CLOCK_TIME_NONE;
  GST_BUFFER_DURATION(buffer) = stamp.duration;
  GST_BUFFER_OFFSET(buffer) = stamp.offset;
  if (stamp.discont) GST_BUFFER_FLAG_SET(buffer, GST_BUFFER_FLAG_DISCONT);
  if (again) GST_BUFFER_FLAG_SET(buffer, GST_BUFFER_FLAG_GAP);
  annotate(buffer, frame);
  if (call.settings().sei) add_sei(buffer, frame);
  call.state.statistics.frame_pushed(g_get_monotonic_time(), again);
  report_statistics(call, running_time(call.filter, stamp.pts));
  return gst_pad_push(call.element->src, buffer);
}

// Waits until the ring has a frame or will have none. False if it was interrupted.
bool wait_for_frame(Call& call) {
  const auto ready = [&] {
    return call.worker->ring_state() != FrameWorker::RingState::Empty ||
           (call.filter.draining && call.worker->idle());
  };
  return call.state.waiter.wait(ready, nullptr, GST_CLOCK_TIME_NONE, call.state.waiter.pauses()) !=
         Waiter::Result::Interrupted;
}

GstFlowReturn show(Call& call, const Stamp& stamp) {
  if (!call.worker) return GST_FLOW_FLUSHING;
  while (true) {
    Frame frame;
    switch (call.worker->peek(&frame)) {
      case FrameWorker::RingState::Ready: {
        if (frame.index == 0) report_chunk(call, frame, stamp.pts);
        const GstFlowReturn flow = push_frame(call, frame, stamp, false);
        call.worker->advance(frame, kNoTime);
        call.filter.last = frame;
        return flow;
      }
      case FrameWorker::RingState::Failed:
        return GST_FLOW_ERROR;
      case FrameWorker::RingState::Ended:
        return GST_FLOW_EOS;
      case FrameWorker::RingState::Empty:
        break;
    }
    if (!wait_for_frame(call)) return GST_FLOW_FLUSHING;
    // A codec that leaves out a video's first frames has none for the last ones of the input.
    if (call.worker->ring_state() == FrameWorker::RingState::Empty && call.filter.draining &&
        call.worker->idle())
      return call.filter.last.chunk ? push_frame(call, call.filter.last, stamp, true) : GST_FLOW_OK;
  }
}

GstFlowReturn discard(Call& call, guint64 chunk) {
  if (!call.worker) return GST_FLOW_OK;
  while (true) {
    Frame frame;
    const auto ring = call.worker->peek(&frame);
    if (ring == FrameWorker::RingState::Ready) {
      if (frame.chunk->info().chunk >= chunk) return GST_FLOW_OK;
      call.worker->advance(frame, kNoTime);
      continue;
    }
    if (ring != FrameWorker::RingState::Empty || call.worker->idle()) return GST_FLOW_OK;
    if (!wait_for_frame(call)) return GST_FLOW_FLUSHING;
  }
}

bool use_caps(Call& call, GstEvent* event) {
  GstCaps* caps = nullptr;
  gst_event_parse_caps(event, &caps);
  FilterState& filter = call.filter;
  if (!gst_video_info_from_caps(&filter.out_info, caps)) return false;
  if (filter.pool != nullptr) {
    gst_buffer_pool_set_active(filter.pool, FALSE);
    gst_clear_object(&filter.pool);
  }
  auto size = static_cast<guint>(filter.out_info.size);
  filter.pool = configured_pool(gst_video_buffer_pool_new(), caps, &size, 0, 0, false);
  return filter.pool != nullptr && gst_buffer_pool_set_active(filter.pool, TRUE);
}

GstFlowReturn push_event(Call& call, GstEvent* event) {
  const GstEventType type = GST_EVENT_TYPE(event);
  if (type == GST_EVENT_SEGMENT) gst_event_copy_segment(event, &call.filter.out_segment);
  if (type == GST_EVENT_CAPS && !use_caps(call, event)) {
    gst_event_unref(event);
    return GST_FLOW_NOT_NEGOTIATED;
  }
  const gboolean pushed = gst_pad_push_event(call.element->src, event);
  if (type == GST_EVENT_CAPS && !pushed && !GST_PAD_IS_FLUSHING(call.element->src))
    return GST_FLOW_NOT_NEGOTIATED;
  return type == GST_EVENT_EOS ? GST_FLOW_EOS : GST_FLOW_OK;
}

// Takes the next item. Nothing if the task is to end.
std::optional<Item> next_item(Call& call) {
  FilterState& filter = call.filter;
  const auto ready = [&] {
    std::lock_guard lock(filter.mutex);
    return !filter.items.empty();
  };
  if (call.state.waiter.wait(ready, nullptr, GST_CLOCK_TIME_NONE, call.state.waiter.pauses()) ==
      Waiter::Result::Interrupted)
    return {};
  std::lock_guard lock(filter.mutex);
  if (filter.items.empty()) return {};
  std::optional<Item> item = std::move(filter.items.front());
  filter.items.pop_front();
  filter.task_is_busy = true;
  return item;
}

GstFlowReturn do_item(Call& call, Item& item) {
  if (auto* event = std::get_if<EventItem>(&item)) return push_event(call, event->event);
  if (auto* rest = std::get_if<DiscardBefore>(&item)) return discard(call, rest->chunk);
  return show(call, std::get<Stamp>(item));
}

void end_task(Call& call, GstFlowReturn flow, bool sent_eos) {
  call.filter.flow = flow;
  if (call.worker) call.worker->interrupt_feed(true);  // nobody takes further chunks
  gst_pad_pause_task(call.element->src);
  if (sent_eos || flow == GST_FLOW_FLUSHING) return;
  // The worker has posted its own errors.
  if (flow < GST_FLOW_EOS && flow != GST_FLOW_ERROR) GST_ELEMENT_FLOW_ERROR(call.element, flow);
  gst_pad_push_event(call.element->src, gst_event_new_eos());
}

void loop(gpointer data) {
  GstFlowReturn flow = GST_FLOW_ERROR;
  bool sent_eos = false;
  Call call(data);
  try {
    std::optional<Item> item = next_item(call);
    if (item) {
      const auto* event = std::get_if<EventItem>(&*item);
      sent_eos = event != nullptr && GST_EVENT_TYPE(event->event) == GST_EVENT_EOS;
      Call now(data);  // the worker may have changed while it waited
      flow = do_item(now, *item);
    } else {
      flow = GST_FLOW_FLUSHING;
    }
  } catch (const std::exception& defect) {
    GST_ELEMENT_ERROR(data, LIBRARY, FAILED, ("flowcachefilter failed: %s", defect.what()), (nullptr));
  }
  if (flow != GST_FLOW_OK) end_task(call, flow, sent_eos);
  {
    std::lock_guard lock(call.filter.mutex);
    call.filter.task_is_busy = false;
  }
  call.filter.fewer.notify_all();
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

// A frame waits until its chunk is complete, and then for its computing.
bool answer_latency(Call& call, GstQuery* query) {
  if (!gst_pad_peer_query(call.element->sink, query)) return false;
  gboolean live = FALSE;
  GstClockTime least = 0, most = GST_CLOCK_TIME_NONE;
  gst_query_parse_latency(query, &live, &least, &most);
  GstClockTime chunk = 0, own = 0;
  {
    std::lock_guard lock(call.state.mutex);
    const fc_model_info& model = call.state.model;
    if (model.fps_n == 0) return false;
    chunk = gst_util_uint64_scale(GST_SECOND, guint64{model.frames_per_chunk} * model.fps_d, model.fps_n);
  }
  const GstClockTime measured = jitter_budget(call.state);
  own = chunk + (measured == 0 ? chunk : MIN(measured, GST_CLOCK_TIME_NONE / 4));
  least = least > GST_CLOCK_TIME_NONE / 4 ? least : least + own;
  // One more chunk may wait here.
  if (GST_CLOCK_TIME_IS_VALID(most)) most = most > GST_CLOCK_TIME_NONE / 4 ? most : most + own + chunk;
  gst_query_set_latency(query, live, least, most);
  return true;
}

gboolean src_query(GstPad* pad, GstObject* parent, GstQuery* query) {
  Call call(parent);
  if (GST_QUERY_TYPE(query) == GST_QUERY_LATENCY) return answer_latency(call, query);
  if (GST_QUERY_TYPE(query) == GST_QUERY_CAPS) {
    GstCaps* filter = nullptr;
    gst_query_parse_caps(query, &filter);
    fc_model_info model{};
    {
      std::lock_guard lock(call.state.mutex);
      model = call.state.model;
    }
    GstCaps* caps = model.width > 0 ? own_caps(model) : gst_pad_get_pad_template_caps(pad);
    if (filter != nullptr) {
      GstCaps* filtered = gst_caps_intersect_full(filter, caps, GST_CAPS_INTERSECT_FIRST);
      gst_caps_unref(caps);
      caps = filtered;
    }
    gst_query_set_caps_result(query, caps);
    gst_caps_unref(caps);
    return TRUE;
  }
  return gst_pad_query_default(pad, parent, query);
}

// Ends all waits, so that threads leave the element.
void interrupt(Call& call) {
  call.filter.flow = GST_FLOW_FLUSHING;
  if (call.worker) call.worker->interrupt_feed(true);
  call.state.waiter.interrupt();
  { std::lock_guard lock(call.filter.mutex); }
  call.filter.fewer.notify_all();
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
      state_of(element).stopped_at = 0;
      state_of(element).reset_wanted = false;
      // Again in READY, because properties may have changed since.
      try {
        if (!prepare(element)) return GST_STATE_CHANGE_FAILURE;
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
    if (call.filter.pool != nullptr) gst_buffer_pool_set_active(call.filter.pool, FALSE);
    gst_clear_object(&call.filter.pool);
    call.filter.last_strength = -1;
    call.filter.stats_due = GST_CLOCK_TIME_NONE;
    call.filter.mismatch_told = false;
    call.filter.restart = call.filter.draining = call.filter.late_told = false;
  }
  if (transition == GST_STATE_CHANGE_READY_TO_NULL) forget(state_of(element));
  return result;
}

void finalize(GObject* object) {
  forget_all(*FLOWCACHE_FILTER(object)->filter);
  delete FLOWCACHE_FILTER(object)->filter;
  delete FLOWCACHE_FILTER(object)->state;
  G_OBJECT_CLASS(gst_flow_cache_filter_parent_class)->finalize(object);
}

}  // namespace filtering
}  // namespace flowcache::gst

static void gst_flow_cache_filter_init(GstFlowCacheFilter* filter) {
  namespace element = flowcache::gst;
  filter->state = new element::SourceState;
  filter->filter = new element::FilterState;
  gst_segment_init(&filter->filter->segment, GST_FORMAT_TIME);
  gst_segment_init(&filter->filter->out_segment, GST_FORMAT_TIME);
  filter->sink = gst_pad_new_from_static_template(&element::filtering::kSinkTemplate, "sink");
  gst_pad_set_chain_function(filter->sink, element::filtering::chain);
  gst_pad_set_event_function(filter->sink, element::filtering::sink_event);
  gst_pad_set_query_function(filter->sink, element::filtering::sink_query);
  gst_element_add_pad(GST_ELEMENT(filter), filter->sink);
  filter->src = gst_pad_new_from_static_template(&element::filtering::kSrcTemplate, "src");
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
  gst_element_class_add_static_pad_template(element_class, &element::filtering::kSinkTemplate);
  gst_element_class_add_static_pad_template(element_class, &element::filtering::kSrcTemplate);
  gst_element_class_set_static_metadata(
      element_class, "FlowCache video-to-video filter", "Filter/Effect/Video",
      "Repaints a live or recorded video from a text prompt with a chunk-wise video diffusion model",
      "The gst-flowcache project");
}
