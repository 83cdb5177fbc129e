// SPDX-License-Identifier: LGPL-2.1-or-later
#include "relay.h"

#include <gst/video/video.h>

namespace {

// Up to so much may wait in an output; what comes beyond that is dropped, up to the next key frame.
constexpr GstClockTime max_level = 2 * GST_SECOND;

GstClockTime now(GstElement* pipeline) {
  g_autoptr(GstClock) clock = gst_element_get_clock(pipeline);
  return clock ? gst_clock_get_time(clock) : 0;
}

// How much later than its time stamp the appsinks let go of a frame.
GstClockTime latency_of(GstElement* pipeline) {
  g_autoptr(GstQuery) query = gst_query_new_latency();
  gboolean live = FALSE;
  GstClockTime least = 0, most = 0;
  if (gst_element_query(pipeline, query)) gst_query_parse_latency(query, &live, &least, &most);
  return least;
}

GstClockTime shifted(GstClockTime time, GstClockTime start) {
  return GST_CLOCK_TIME_IS_VALID(time) && time >= start ? time - start : GST_CLOCK_TIME_NONE;
}

}  // namespace

Relay::Relay(GstElement* generator) : generator_(generator) {
  GstAppSinkCallbacks callbacks{};
  callbacks.new_sample = on_sample;
  for (Track* track : {&video_, &audio_}) {
    track->relay = this;
    track->video = track == &video_;
    GstElement* sink = gst_bin_get_by_name(GST_BIN(generator), track->video ? "video" : "audio");
    if (!sink) continue;
    track->from = GST_APP_SINK(sink);
    gst_app_sink_set_callbacks(track->from, &callbacks, track, nullptr);
    gst_object_unref(sink);
  }
}

void Relay::attach(GstElement* output) {
  const GstClockTime time = now(generator_);
  const GstClockTime running_time = time - gst_element_get_base_time(generator_);
  const GstClockTime latency = latency_of(generator_);
  g_autoptr(GstClock) clock = gst_element_get_clock(generator_);
  gst_pipeline_use_clock(GST_PIPELINE(output), clock);
  gst_element_set_start_time(output, GST_CLOCK_TIME_NONE);
  gst_element_set_base_time(output, time);
  {
    const std::lock_guard lock(mutex_);
    start_ = running_time > latency ? running_time - latency : 0;
    full_since_ = 0;
    waiting_for_key_frame_ = true;
    for (Track* track : {&video_, &audio_}) {
      GstElement* source = gst_bin_get_by_name(GST_BIN(output), track->video ? "video" : "audio");
      if (!source) continue;
      g_object_set(source, "is-live", TRUE, "format", GST_FORMAT_TIME, "max-bytes", guint64{0}, nullptr);
      track->to = GST_APP_SRC(source);
    }
  }
  if (video_.from)
    gst_element_send_event(GST_ELEMENT(video_.from),
                           gst_video_event_new_upstream_force_key_unit(GST_CLOCK_TIME_NONE, TRUE, 0));
}

void Relay::detach() {
  const std::lock_guard lock(mutex_);
  for (Track* track : {&video_, &audio_}) {
    if (track->to) gst_object_unref(track->to);
    track->to = nullptr;
  }
}

void Relay::end() {
  const std::lock_guard lock(mutex_);
  for (Track* track : {&video_, &audio_}) {
    if (track->to) gst_app_src_end_of_stream(track->to);
  }
}

GstClockTime Relay::stalled() const {
  const std::lock_guard lock(mutex_);
  return full_since_ ? now(generator_) - full_since_ : 0;
}

RelayCounts Relay::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

GstFlowReturn Relay::on_sample(GstAppSink* sink, gpointer user) {
  auto* track = static_cast<Track*>(user);
  g_autoptr(GstSample) sample = gst_app_sink_pull_sample(sink);
  if (sample) track->relay->forward(track, sample);
  return GST_FLOW_OK;
}

// A decoder cannot begin, or go on after a gap, anywhere but at a key frame; sound before the first picture
// would only make a player wait.
bool Relay::wanted(const Track& track, GstBuffer* buffer, GstClockTime running_time) {
  if (!GST_CLOCK_TIME_IS_VALID(running_time) || running_time < start_) return false;
  if (gst_app_src_get_current_level_time(track.to) > max_level) {
    if (!track.video) return false;
    if (full_since_ == 0) full_since_ = now(generator_);
    waiting_for_key_frame_ = true;
    return false;
  }
  if (track.video) full_since_ = 0;
  if (track.video && waiting_for_key_frame_ && !GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_DELTA_UNIT))
    waiting_for_key_frame_ = false;
  return !waiting_for_key_frame_;
}

void Relay::forward(Track* track, GstSample* sample) {
  GstBuffer* buffer = gst_sample_get_buffer(sample);
  const GstSegment* segment = gst_sample_get_segment(sample);
  const GstClockTime pts = gst_segment_to_running_time(segment, GST_FORMAT_TIME, GST_BUFFER_PTS(buffer));
  const GstClockTime dts = gst_segment_to_running_time(segment, GST_FORMAT_TIME, GST_BUFFER_DTS(buffer));
  const std::lock_guard lock(mutex_);
  if (track->video) ++counts_.generated;
  if (!track->to) return;
  if (!wanted(*track, buffer, pts)) {
    if (track->video) ++counts_.dropped;
    return;
  }
  GstBuffer* copy = gst_buffer_copy(buffer);  // of the description; the bytes are shared
  GST_BUFFER_PTS(copy) = shifted(pts, start_);
  GST_BUFFER_DTS(copy) = shifted(dts, start_);
  gst_app_src_set_caps(track->to, gst_sample_get_caps(sample));
  gst_app_src_push_buffer(track->to, copy);
  if (track->video) ++counts_.sent;
}
