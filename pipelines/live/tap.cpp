// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tap.h"

#include <gst/video/video.h>

#include <algorithm>

namespace flowcache::live {
namespace {

/// A copy whose timestamps are running times: x264enc's segment starts at a thousand hours. Shares the
/// memory.
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

Tap::Tap(GstElement* appsink, GstElement* valve) : sink_(appsink), valve_(valve) {
  GstAppSinkCallbacks callbacks{};
  callbacks.new_sample = new_sample;
  gst_app_sink_set_callbacks(GST_APP_SINK(sink_), &callbacks, this, nullptr);
}

std::shared_ptr<Tap::Consumer> Tap::attach(GstElement* appsrc) {
  auto consumer = std::make_shared<Consumer>();
  consumer->source_.reset(GST_ELEMENT(gst_object_ref(appsrc)));
  {
    std::lock_guard lock(mutex_);
    consumers_.push_back(consumer);
  }
  request_keyframe();
  g_object_set(valve_, "drop", FALSE, nullptr);
  return consumer;
}

void Tap::detach(const std::shared_ptr<Consumer>& consumer) {
  bool last = false;
  {
    std::lock_guard lock(mutex_);
    std::erase(consumers_, consumer);
    last = consumers_.empty();
  }
  if (last) g_object_set(valve_, "drop", TRUE, nullptr);
}

void Tap::request_keyframe() {
  keyframe_wanted_ = true;
}

size_t Tap::consumers() const {
  std::lock_guard lock(mutex_);
  return consumers_.size();
}

GstFlowReturn Tap::new_sample(GstAppSink* sink, gpointer self) {
  const SamplePtr sample(gst_app_sink_pull_sample(sink));
  if (!sample) return GST_FLOW_EOS;
  static_cast<Tap*>(self)->pass_on(sample.get());
  static_cast<Tap*>(self)->send_wanted_keyframe();
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
    GstAppSrc* source = GST_APP_SRC(consumer->source_.get());
    if (gst_app_src_get_current_level_buffers(source) >= most_waiting) {
      consumer->needs_keyframe_ = true;
      ++consumer->dropped_;
      continue;
    }
    if (consumer->needs_keyframe_ && !key) {
      ++consumer->dropped_;
      request_keyframe();
      continue;
    }
    consumer->needs_keyframe_ = false;
    ++consumer->sent_;
    gst_app_src_push_sample(source, passed.get());
  }
}

void Tap::send_wanted_keyframe() {
  const gint64 now = g_get_monotonic_time();
  if (!keyframe_wanted_ || now - last_keyframe_ < G_USEC_PER_SEC) return;
  keyframe_wanted_ = false;
  last_keyframe_ = now;
  const GstPtr<GstPad> pad(gst_element_get_static_pad(sink_, "sink"));
  gst_pad_push_event(pad.get(), gst_video_event_new_upstream_force_key_unit(GST_CLOCK_TIME_NONE, TRUE, 0));
}

}  // namespace flowcache::live
