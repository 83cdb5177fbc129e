// SPDX-License-Identifier: LGPL-2.1-or-later
// What comes into the filter: the frames of a chunk are collected and given to the engine.
#include <algorithm>
#include <exception>
#include <optional>
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
}

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
    feed.follow_motion = settings.follow_motion ? 1 : 0;
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
