// SPDX-License-Identifier: LGPL-2.1-or-later
// What goes out of the filter: the task of the source pad gives each frame the time of the one that went in, and
// reports on it.
#include <exception>
#include <optional>
#include <utility>

#include "filter.h"
#include "messages.h"
#include "output.h"
#include "reports.h"

namespace flowcache::gst::filtering {
namespace {

GstClockTime running_time(const FilterState& filter, GstClockTime pts) {
  return gst_segment_to_running_time(&filter.out_segment, GST_FORMAT_TIME, pts);
}

// At the first frame of a chunk: from here on another strength holds.
void report_strength(Call& call, const Frame& frame, GstClockTime running) {
  const fc_chunk_info& chunk = frame.chunk->info();
  if (frame.index != 0 || std::exchange(call.filter.last_strength, chunk.strength) == chunk.strength) return;
  gst_element_post_message(
      call.gst(),
      gst_message_new_element(
          GST_OBJECT(call.element),
          gst_structure_new("flowcache-strength", "strength", G_TYPE_DOUBLE, chunk.strength, "chunk",
                            G_TYPE_UINT64, chunk.chunk, "pts", G_TYPE_UINT64, running, nullptr)));
}

GstFlowReturn make_buffer(Call& call, const Frame& frame, GstBuffer** buffer) {
  GstFlowReturn flow = gst_buffer_pool_acquire_buffer(call.filter.pool, buffer, nullptr);
  if (flow != GST_FLOW_OK) return flow;
  std::string error;
  const fc_status status = write_frame(call.gst(), call.state, *call.worker, frame, *buffer, &error);
  if (status == FC_OK) return GST_FLOW_OK;
  gst_clear_buffer(buffer);
  post_engine_error(call.gst(), status, error);
  return GST_FLOW_ERROR;
}

GstFlowReturn push_frame(Call& call, const Frame& frame, const Stamp& stamp, bool again) {
  GstBuffer* buffer = nullptr;
  if (gst_pad_check_reconfigure(call.element->src)) {
    GstCaps* caps = gst_caps_ref(call.filter.out_caps);
    const bool used = use_caps(call, caps);
    gst_caps_unref(caps);
    if (!used) return GST_FLOW_NOT_NEGOTIATED;
  }
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
  report_statistics(call.gst(), call.state, running_time(call.filter, stamp.pts));
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
        const GstClockTime running = running_time(call.filter, stamp.pts);
        report_chunk(call.gst(), call.state, frame,
                     {stamp.pts, running,
                      gst_segment_to_stream_time(&call.filter.out_segment, GST_FORMAT_TIME, stamp.pts)},
                     /*cut=*/false);
        report_strength(call, frame, running);
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

GstFlowReturn push_caps(Call& call, GstEvent* event) {
  GstCaps* caps = nullptr;
  gst_event_parse_caps(event, &caps);
  const bool used = use_caps(call, caps);
  gst_event_unref(event);
  if (used) return GST_FLOW_OK;
  return GST_PAD_IS_FLUSHING(call.element->src) ? GST_FLOW_FLUSHING : GST_FLOW_NOT_NEGOTIATED;
}

// Tags of the input do not replace those of the prompt.
GstEvent* with_own_tags(FilterState& filter, GstEvent* event) {
  GstTagList* list = nullptr;
  gst_event_parse_tag(event, &list);
  if (gst_tag_list_get_scope(list) != GST_TAG_SCOPE_STREAM) return event;
  gst_clear_tag_list(&filter.input_tags);
  filter.input_tags = gst_tag_list_copy(list);
  if (filter.own_tags == nullptr) return event;
  gst_event_unref(event);
  return gst_event_new_tag(gst_tag_list_merge(filter.input_tags, filter.own_tags, GST_TAG_MERGE_REPLACE));
}

GstFlowReturn push_event(Call& call, GstEvent* event) {
  const GstEventType type = GST_EVENT_TYPE(event);
  if (type == GST_EVENT_CAPS) return push_caps(call, event);
  if (type == GST_EVENT_SEGMENT) gst_event_copy_segment(event, &call.filter.out_segment);
  if (type == GST_EVENT_TAG) event = with_own_tags(call.filter, event);
  gst_pad_push_event(call.element->src, event);
  return type == GST_EVENT_EOS ? GST_FLOW_EOS : GST_FLOW_OK;
}

// Waits for an item. False if interrupted. Meanwhile watches whether a live input goes on.
bool wait_for_item(Call& call) {
  FilterState& filter = call.filter;
  bool there = false;
  GstClock* clock = gst_system_clock_obtain();
  Waiter::Result result = Waiter::Result::Ready;
  while (!there && result != Waiter::Result::Interrupted) {
    const GstClockTime watched = filter.quiet_at;
    const auto ready = [&] {
      std::lock_guard lock(filter.mutex);
      there = !filter.items.empty();
      return there || filter.quiet_at != watched;
    };
    const GstClockTime now = gst_clock_get_time(clock), mono = monotonic_time();
    const GstClockTime left = GST_CLOCK_TIME_IS_VALID(watched) && watched > mono ? watched - mono : 0;
    result = call.state.waiter.wait(ready, clock, GST_CLOCK_TIME_IS_VALID(watched) ? now + left : watched,
                                    call.state.waiter.pauses());
    if (result == Waiter::Result::TimeReached && !there && filter.quiet_at == watched) {
      Call again(call.element);
      let_out_what_waits(again);
    }
  }
  gst_object_unref(clock);
  return result != Waiter::Result::Interrupted;
}

// Takes the next item. Nothing if the task is to end.
std::optional<Item> next_item(Call& call) {
  FilterState& filter = call.filter;
  if (!wait_for_item(call)) return {};
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

}  // namespace

GstTagList* beside_the_inputs(GstFlowCacheFilter* element, GstTagList* tags) {
  FilterState& filter = *element->filter;
  gst_clear_tag_list(&filter.own_tags);
  filter.own_tags = tags;
  return filter.input_tags == nullptr ? gst_tag_list_copy(tags)
                                      : gst_tag_list_merge(filter.input_tags, tags, GST_TAG_MERGE_REPLACE);
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

}  // namespace flowcache::gst::filtering
