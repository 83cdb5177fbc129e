// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tap.h"

#include <gst/video/video.h>

#include <utility>

namespace flowcache {
namespace {

// A copy whose timestamps are running times, since the segment of x264enc starts at a thousand hours. It
// shares the memory.
GstBuffer* with_running_time(GstBuffer* buffer, const GstSegment* segment) {
  GstBuffer* copy = gst_buffer_copy(buffer);
  const auto running = [&](GstClockTime time) {
    return GST_CLOCK_TIME_IS_VALID(time) ? gst_segment_to_running_time(segment, GST_FORMAT_TIME, time) : time;
  };
  GST_BUFFER_PTS(copy) = running(GST_BUFFER_PTS(buffer));
  GST_BUFFER_DTS(copy) = running(GST_BUFFER_DTS(buffer));
  return copy;
}

}  // namespace

GstClockTime Tap::Consumer::waiting() const {
  return gst_app_src_get_current_level_time(GST_APP_SRC(source_.get()));
}

gint64 Tap::Consumer::stalled() const {
  const gint64 since = full_since_;
  return since == 0 ? 0 : g_get_monotonic_time() - since;
}

void Tap::Consumer::set_latency(GstClockTime latency) {
  if (latency_.exchange(latency) == latency) return;
  g_object_set(source_.get(), "min-latency", static_cast<gint64>(latency), nullptr);
}

Tap::Tap(GstElement* appsink, GstElement* valve, std::function<void()> first)
    : sink_(appsink), valve_(valve), first_(std::move(first)) {
  g_object_set(sink_, "sync", FALSE, "async", FALSE, "enable-last-sample", FALSE, nullptr);
  GstAppSinkCallbacks callbacks{};
  callbacks.new_sample = new_sample;
  gst_app_sink_set_callbacks(GST_APP_SINK(sink_), &callbacks, this, nullptr);
}

Tap::~Tap() {
  GstAppSinkCallbacks none{};
  gst_app_sink_set_callbacks(GST_APP_SINK(sink_), &none, nullptr, nullptr);
}

std::shared_ptr<Tap::Consumer> Tap::attach(GstElement* appsrc, GstClockTime latency,
                                           std::shared_ptr<const Consumer> picture) {
  auto consumer = std::make_shared<Consumer>();
  consumer->source_.reset(GST_ELEMENT(gst_object_ref(appsrc)));
  consumer->picture_ = std::move(picture);
  // max-bytes=0: no limit in appsrc, because takes() decides how much may wait.
  g_object_set(appsrc, "is-live", TRUE, "format", GST_FORMAT_TIME, "max-bytes", guint64{0}, nullptr);
  consumer->set_latency(latency);
  {
    std::lock_guard lock(mutex_);
    consumers_.push_back(consumer);
  }
  request_keyframe();
  if (valve_ != nullptr) g_object_set(valve_, "drop", FALSE, nullptr);
  return consumer;
}

void Tap::detach(const std::shared_ptr<Consumer>& consumer) {
  bool last = false;
  {
    std::lock_guard lock(mutex_);
    std::erase(consumers_, consumer);
    last = consumers_.empty();
  }
  if (last && valve_ != nullptr) g_object_set(valve_, "drop", TRUE, nullptr);
}

// The query goes to what is in front of the sink. The sink itself would answer 0, because it does not wait
// for the clock.
GstClockTime Tap::latency() const {
  GstQuery* query = gst_query_new_latency();
  const GstPtr<GstPad> pad(gst_element_get_static_pad(sink_, "sink"));
  GstClockTime least = 0;
  if (gst_pad_peer_query(pad.get(), query)) gst_query_parse_latency(query, nullptr, &least, nullptr);
  gst_query_unref(query);
  return least;
}

GstFlowReturn Tap::new_sample(GstAppSink* sink, gpointer data) {
  const SamplePtr sample(gst_app_sink_pull_sample(sink));
  if (!sample) return GST_FLOW_EOS;
  auto* self = static_cast<Tap*>(data);
  if (self->frames_++ == 0 && self->first_) on_main(self->first_);
  self->pass_on(sample.get());
  self->send_wanted_keyframe();
  return GST_FLOW_OK;
}

void Tap::pass_on(GstSample* sample) {
  GstBuffer* buffer = gst_sample_get_buffer(sample);
  if (buffer == nullptr) return;
  const bool key = !GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_DELTA_UNIT);
  GstBuffer* copy = with_running_time(buffer, gst_sample_get_segment(sample));
  const SamplePtr passed(gst_sample_new(copy, gst_sample_get_caps(sample), nullptr, nullptr));
  gst_buffer_unref(copy);
  std::lock_guard lock(mutex_);
  for (const auto& consumer : consumers_) {
    if (consumer->picture_ && consumer->picture_->sent() == 0) continue;
    if (!takes(*consumer, key)) {
      ++consumer->dropped_;
      continue;
    }
    ++consumer->sent_;
    gst_app_src_push_sample(GST_APP_SRC(consumer->source_.get()), passed.get());
  }
}

// Whether the consumer gets this frame. A decoder can begin, or go on after a gap, only at a key frame.
bool Tap::takes(Consumer& consumer, bool key) {
  const GstClockTime waiting = gst_app_src_get_current_level_time(GST_APP_SRC(consumer.source_.get()));
  if (waiting > most_waiting + consumer.latency_) {
    consumer.needs_keyframe_ = true;
    if (consumer.full_since_ == 0) consumer.full_since_ = g_get_monotonic_time();
    return false;
  }
  consumer.full_since_ = 0;
  if (consumer.needs_keyframe_ && !key) {
    request_keyframe();
    return false;
  }
  consumer.needs_keyframe_ = false;
  return true;
}

void Tap::send_wanted_keyframe() {
  const gint64 now = g_get_monotonic_time();
  if (!keyframe_wanted_ || now - last_keyframe_ < G_USEC_PER_SEC) return;
  keyframe_wanted_ = false;
  last_keyframe_ = now;
  const GstPtr<GstPad> pad(gst_element_get_static_pad(sink_, "sink"));
  gst_pad_push_event(pad.get(), gst_video_event_new_upstream_force_key_unit(GST_CLOCK_TIME_NONE, TRUE, 0));
}

}  // namespace flowcache
