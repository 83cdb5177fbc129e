// SPDX-License-Identifier: LGPL-2.1-or-later
// What comes into the filter: the frames of a chunk are collected and given to the engine.
#include <algorithm>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "filter.h"
#include "output.h"

namespace flowcache::gst::filtering {
namespace {

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
  filter.quiet_at = GST_CLOCK_TIME_NONE;
}

// Moves the planes to the part of the picture that a GstVideoCropMeta names. Chroma that lies between two samples is
// taken from the one before.
void crop(fc_planes& planes, const GstVideoFrame& frame) {
  const GstVideoCropMeta* part = gst_buffer_get_video_crop_meta(frame.buffer);
  if (part == nullptr) return;
  for (guint plane = 0; plane < GST_VIDEO_FRAME_N_PLANES(&frame); ++plane) {
    gint components[GST_VIDEO_MAX_COMPONENTS];
    gst_video_format_info_component(frame.info.finfo, plane, components);
    const auto component = static_cast<guint>(components[0]);
    const size_t x = part->x >> GST_VIDEO_FORMAT_INFO_W_SUB(frame.info.finfo, component);
    const size_t y = part->y >> GST_VIDEO_FORMAT_INFO_H_SUB(frame.info.finfo, component);
    planes.plane[plane] = static_cast<guint8*>(planes.plane[plane]) + y * planes.stride[plane] +
                          x * static_cast<size_t>(GST_VIDEO_FRAME_COMP_PSTRIDE(&frame, component));
  }
}

// The frames of a chunk, mapped for as long as this exists.
class MappedFrames {
 public:
  // memory: where the planes are then. What is elsewhere is brought to the host by GStreamer.
  MappedFrames(const std::vector<GstBuffer*>& buffers, const GstVideoInfo& info, fc_memory memory)
      : frames_(buffers.size()), memory_(memory) {
    const int flags = GST_MAP_READ | (memory == FC_MEMORY_CUDA ? kMapCuda : 0);
    for (; mapped_ < buffers.size(); ++mapped_)
      if (!gst_video_frame_map(&frames_[mapped_], &info, buffers[mapped_], static_cast<GstMapFlags>(flags)))
        return;
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
    for (uint32_t i = 0; i < count; ++i) {
      GstVideoFrame& frame = frames_[std::min<size_t>(i, frames_.size() - 1)];
      all.push_back(planes_of(&frame, memory_));
      crop(all.back(), frame);
    }
    return all;
  }

 private:
  static constexpr int kMapCuda = GST_MAP_FLAG_LAST << 1;  // GST_MAP_CUDA of gstcudamemory.h

  std::vector<GstVideoFrame> frames_;
  const fc_memory memory_;
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

// An engine on the device reads CUDA memory of its own context as it is.
fc_memory memory_for_engine(const Call& call) {
  const FilterState& filter = call.filter;
  const bool on_device =
      filter.memory == MemoryKind::Cuda && engine_is_on_cuda(*call.worker) &&
      std::all_of(filter.collected.begin(), filter.collected.end(),
                  [&](GstBuffer* buffer) { return call.state.cuda.is_the_engines(buffer); });
  return on_device ? FC_MEMORY_CUDA : FC_MEMORY_HOST;
}

// Feeds the collected frames; a part of a chunk is filled up with its last frame. wait: until they can be taken.
FrameWorker::Fed feed(Call& call, bool wait) {
  FilterState& filter = call.filter;
  MappedFrames frames(filter.collected, filter.info, memory_for_engine(call));
  if (!frames.all()) {
    GST_ELEMENT_ERROR(call.element, RESOURCE, READ, ("A frame of the input cannot be mapped."), (nullptr));
    return FrameWorker::Fed::Stopped;
  }
  const std::vector<fc_planes> planes = frames.planes(filter.wanted);
  fc_feed feed = fc_feed_init();
  feed.frames = planes.data();
  feed.count = filter.wanted;
  const Settings settings = call.settings();
  feed.strength = settings.strength;
  feed.follow_motion = settings.follow_motion ? 1 : 0;
  feed.restart = filter.restart ? 1 : 0;
  filter.draining = false;
  const Stamp* first = nullptr;
  for (const Item& item : filter.pending)
    if (first == nullptr) first = std::get_if<Stamp>(&item);
  const GstClockTime time =
      first == nullptr ? kNoTime : gst_segment_to_running_time(&filter.segment, GST_FORMAT_TIME, first->pts);
  return call.worker->feed(feed, time, wait);
}

// The collected frames have been fed, or are left out: what waits for them goes on.
void hand_over(Call& call, bool fed) {
  FilterState& filter = call.filter;
  if (!fed) {
    tell_late(call);
    std::erase_if(filter.pending, [](const Item& item) { return std::holds_alternative<Stamp>(item); });
  } else {
    filter.late_told = false;
  }
  filter.restart = filter.left_out = !fed;
  append(call, std::exchange(filter.pending, {}));
  forget_collected(filter);
}

// wait: whatever `late` says.
GstFlowReturn submit(Call& call, bool wait) {
  const bool may_drop = call.settings().late == LatePolicy::Drop && call.state.input_is_live && !wait;
  const FrameWorker::Fed fed = feed(call, !may_drop);
  if (fed == FrameWorker::Fed::Stopped) {
    const GstFlowReturn flow = call.filter.flow;
    return flow != GST_FLOW_OK ? flow : GST_FLOW_ERROR;  // the worker has said why
  }
  hand_over(call, fed == FrameWorker::Fed::Taken);
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

// Says once what is odd about the input's times.
void check_time(Call& call, GstBuffer* buffer) {
  FilterState& filter = call.filter;
  const GstClockTime pts = GST_BUFFER_PTS(buffer);
  if (!GST_CLOCK_TIME_IS_VALID(pts)) {
    if (!std::exchange(filter.untimed_told, true))
      GST_ELEMENT_WARNING(
          call.element, STREAM, FORMAT,
          ("The input has frames without a time: each follows the one before. A parser before "
           "the decoder, or appsrc do-timestamp=true, gives them one."),
          ("said once"));
  } else if (GST_CLOCK_TIME_IS_VALID(filter.last_pts) && pts < filter.last_pts &&
             !std::exchange(filter.back_told, true)) {
    GST_ELEMENT_WARNING(call.element, STREAM, FORMAT,
                        ("The input's time jumps back from %" GST_TIME_FORMAT " to %" GST_TIME_FORMAT
                         ". It is passed on as it is, and sinks may drop such frames: put videorate before "
                         "flowcachefilter.",
                         GST_TIME_ARGS(filter.last_pts), GST_TIME_ARGS(pts)),
                        ("said once"));
  }
}

Stamp stamp_of(FilterState& filter, GstBuffer* buffer) {
  Stamp stamp;
  stamp.pts = GST_BUFFER_PTS_IS_VALID(buffer) ? GST_BUFFER_PTS(buffer) : filter.next_pts;
  stamp.duration = GST_BUFFER_DURATION(buffer);
  if (!GST_BUFFER_DURATION_IS_VALID(buffer))
    stamp.duration = gst_util_uint64_scale(GST_SECOND, static_cast<guint64>(filter.info.fps_d),
                                           static_cast<guint64>(filter.info.fps_n));
  stamp.offset = GST_BUFFER_OFFSET(buffer);
  stamp.discont = GST_BUFFER_IS_DISCONT(buffer) || std::exchange(filter.left_out, false);
  filter.next_pts = stamp.pts + stamp.duration;
  filter.last_pts = stamp.pts;
  return stamp;
}

// The properties' controllers take the time of the chunk's first frame.
void follow_controllers(Call& call, GstClockTime pts) {
  const guint64 time = gst_segment_to_stream_time(&call.filter.segment, GST_FORMAT_TIME, pts);
  if (GST_CLOCK_TIME_IS_VALID(time)) gst_object_sync_values(GST_OBJECT(call.element), time);
}

// Why this is not a picture of the size and the format that the caps say; empty if it is one.
std::string problem_of(GstBuffer* buffer, const GstVideoInfo& info) {
  const auto size = [](auto width, auto height) {
    return std::to_string(width) + "x" + std::to_string(height);
  };
  const GstVideoMeta* meta = gst_buffer_get_video_meta(buffer);
  const GstVideoCropMeta* part = gst_buffer_get_video_crop_meta(buffer);
  const auto width = static_cast<guint>(GST_VIDEO_INFO_WIDTH(&info));
  const auto height = static_cast<guint>(GST_VIDEO_INFO_HEIGHT(&info));
  const std::string caps = "the caps say " + size(width, height);
  const guint whole_width = meta == nullptr ? width : meta->width;
  const guint whole_height = meta == nullptr ? height : meta->height;
  if (meta != nullptr && meta->format != GST_VIDEO_INFO_FORMAT(&info))
    return std::string("is in ") + gst_video_format_to_string(meta->format) + ", the caps say " +
           gst_video_format_to_string(GST_VIDEO_INFO_FORMAT(&info));
  if (part != nullptr && (part->width != width || part->height != height))
    return "is cropped to " + size(part->width, part->height) + ", " + caps;
  if (part == nullptr && (whole_width != width || whole_height != height))
    return "is " + size(whole_width, whole_height) + ", " + caps;
  if (part != nullptr && (guint64{part->x} + width > whole_width || guint64{part->y} + height > whole_height))
    return "is cropped at " + std::to_string(part->x) + "," + std::to_string(part->y) + " to " +
           size(width, height) + ", which is outside of its " + size(whole_width, whole_height);
  if (meta == nullptr && gst_buffer_get_size(buffer) < info.size)
    return "has " + std::to_string(gst_buffer_get_size(buffer)) + " bytes, " + caps + " in " +
           gst_video_format_to_string(GST_VIDEO_INFO_FORMAT(&info)) + ", which is " +
           std::to_string(info.size);
  return "";
}

// A live input that stops in mid-chunk is waited for this long.
constexpr GstClockTime kQuiet = GST_SECOND;

// From now on the source pad's task watches whether a live input goes on.
void expect_more(Call& call) {
  call.filter.quiet_at = monotonic_time() + kQuiet;
  call.state.waiter.notify();
}

GstFlowReturn take_frame(Call& call, GstBuffer* buffer) {
  FilterState& filter = call.filter;
  if (!call.worker) return GST_FLOW_NOT_NEGOTIATED;
  if (const GstFlowReturn flow = filter.flow; flow != GST_FLOW_OK) return flow;
  if (const std::string problem = problem_of(buffer, filter.info); !problem.empty()) {
    GST_ELEMENT_ERROR(
        call.element, STREAM, FORMAT,
        ("A frame of the input %s. Put videoconvertscale before flowcachefilter.", problem.c_str()),
        (nullptr));
    return GST_FLOW_ERROR;
  }
  if (std::exchange(filter.let_out, false)) drain(call);
  if (filter.wanted == 0) {
    // A live input does not wait while the model loads.
    const bool may_drop = call.state.input_is_live && call.settings().late == LatePolicy::Drop;
    if (may_drop && !call.worker->is_open_for_feed()) {
      call.state.statistics.skipped(1);
      filter.left_out = true;
      return GST_FLOW_OK;
    }
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
  check_time(call, buffer);
  const Stamp stamp = stamp_of(filter, buffer);
  if (filter.collected.empty()) follow_controllers(call, stamp.pts);
  filter.pending.emplace_back(stamp);
  filter.collected.push_back(gst_buffer_ref(buffer));
  if (filter.collected.size() < filter.wanted) {
    if (call.state.input_is_live) expect_more(call);
    return GST_FLOW_OK;
  }
  filter.quiet_told = false;
  return submit(call, /*wait=*/false);
}

}  // namespace

void append(Call& call, std::vector<Item> items) {
  {
    std::lock_guard lock(call.filter.mutex);
    for (Item& item : items) call.filter.items.push_back(std::move(item));
  }
  call.state.waiter.notify();
}

void forget_all(FilterState& filter) {
  forget_collected(filter);
  std::lock_guard lock(filter.mutex);
  for (Item& item : filter.items)
    if (auto* event = std::get_if<EventItem>(&item)) gst_event_unref(event->event);
  filter.items.clear();
  filter.fewer.notify_all();
}

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

void let_out_what_waits(Call& call) {
  FilterState& filter = call.filter;
  GRecMutex* input = GST_PAD_GET_STREAM_LOCK(call.element->sink);
  if (!g_rec_mutex_trylock(input)) return;  // a frame is coming
  if (!filter.collected.empty() && call.worker && filter.flow == GST_FLOW_OK) {
    const size_t frames = filter.collected.size();
    const bool paused = GST_CLOCK_TIME_IS_VALID(call.state.stopped_at.load());
    const FrameWorker::Fed fed = paused ? FrameWorker::Fed::Busy : feed(call, /*wait=*/false);
    if (fed == FrameWorker::Fed::Busy) {
      filter.quiet_at = monotonic_time() + kQuiet;
    } else if (fed == FrameWorker::Fed::Taken) {
      hand_over(call, /*fed=*/true);
      call.worker->drain();
      filter.draining = filter.let_out = true;
      if (!std::exchange(filter.quiet_told, true))
        GST_ELEMENT_WARNING(
            call.element, RESOURCE, READ,
            ("The input has sent nothing for %.0f s. The last %u frames are shown without the "
             "rest of their chunk; what comes later begins anew. Look at the camera or the network.",
             static_cast<double>(kQuiet) / GST_SECOND, static_cast<guint>(frames)),
            ("said once until a whole chunk has come without such a pause"));
    }
  } else {
    filter.quiet_at = GST_CLOCK_TIME_NONE;
  }
  g_rec_mutex_unlock(input);
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

}  // namespace flowcache::gst::filtering
