// SPDX-License-Identifier: LGPL-2.1-or-later
#include "output.h"

#include <cstdio>
#include <utility>

namespace {

constexpr guint tick_ms = 250;
constexpr gint64 pause_us = 2 * G_USEC_PER_SEC;    // between attempts
constexpr gint64 steady_us = 10 * G_USEC_PER_SEC;  // on air for so long: failures are counted from 0 again
constexpr gint64 finish_us = 5 * G_USEC_PER_SEC;   // for the last bytes to leave
constexpr GstClockTime stall_limit = 10 * GST_SECOND;  // nothing taken for so long: as good as gone
constexpr int buffers_on_air = 8;  // FLV headers pass unsent; the first of the others waits for a connection

std::string last_line(const char* text) {
  std::string line = text ? text : "";
  while (!line.empty() && line.back() == '\n') line.pop_back();
  return line.substr(line.rfind('\n') + 1);
}

}  // namespace

std::string error_text(GstMessage* message) {
  g_autoptr(GError) error = nullptr;
  g_autofree char* debug = nullptr;
  gst_message_parse_error(message, &error, &debug);
  const std::string why = last_line(debug);
  return why.empty() ? error->message : std::string(error->message) + " (" + why + ")";
}

Output::Output(Config config, Relay& relay, std::function<void(std::string)> ended)
    : config_(std::move(config)), relay_(relay), ended_(std::move(ended)) {
  tick_ = g_timeout_add(tick_ms, on_tick, this);
}

Output::~Output() {
  if (tick_) g_source_remove(tick_);
  close();
}

void Output::start() {
  g_autoptr(GError) error = nullptr;
  since_ = g_get_monotonic_time();
  on_air_ = false;
  g_atomic_int_set(&passed_, 0);
  pipeline_ =
      gst_parse_launch_full(config_.description.c_str(), nullptr, GST_PARSE_FLAG_FATAL_ERRORS, &error);
  if (!pipeline_) {
    end(error->message);
    return;
  }
  gst_object_ref_sink(pipeline_);
  if (GstElement* sink = gst_bin_get_by_name(GST_BIN(pipeline_), "sink")) {
    if (GstPad* pad = gst_element_get_static_pad(sink, "sink")) {
      gst_pad_add_probe(pad, GstPadProbeType(GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_BUFFER_LIST),
                        on_buffer, this, nullptr);
      gst_object_unref(pad);
    }
    gst_object_unref(sink);
  }
  g_autoptr(GstBus) bus = gst_element_get_bus(pipeline_);
  gst_bus_add_watch(bus, on_message, this);
  relay_.attach(pipeline_);
  gst_element_set_state(pipeline_, GST_STATE_PLAYING);  // a failure is an ERROR message as well
}

void Output::finish() {
  finishing_since_ = g_get_monotonic_time();
  if (pipeline_)
    relay_.end();
  else
    end(config_.name + ": the stream ended while the other side was away");
}

GstPadProbeReturn Output::on_buffer(GstPad*, GstPadProbeInfo*, gpointer user) {
  g_atomic_int_inc(&static_cast<Output*>(user)->passed_);
  return GST_PAD_PROBE_OK;
}

gboolean Output::on_message(GstBus*, GstMessage* message, gpointer user) {
  auto* self = static_cast<Output*>(user);
  switch (GST_MESSAGE_TYPE(message)) {
    case GST_MESSAGE_ERROR:
      self->lost(error_text(message));
      return G_SOURCE_REMOVE;
    case GST_MESSAGE_EOS:
      if (self->finishing_since_)
        self->end("");
      else
        self->lost("the other side closed the stream");
      return G_SOURCE_REMOVE;
    case GST_MESSAGE_LATENCY:
      gst_bin_recalculate_latency(GST_BIN(self->pipeline_));
      return G_SOURCE_CONTINUE;
    default:
      return G_SOURCE_CONTINUE;
  }
}

gboolean Output::on_tick(gpointer user) {
  auto* self = static_cast<Output*>(user);
  const gint64 now = g_get_monotonic_time();
  if (self->finishing_since_ && now - self->finishing_since_ > finish_us) {
    self->end(self->config_.name + ": the other side did not take the end of the stream within 5 s");
  } else if (!self->pipeline_) {
    // since_ is 0 until start() was first called: before that the generator is not there yet.
    if (self->since_ && now - self->since_ > pause_us) self->start();
  } else if (self->relay_.stalled() > stall_limit) {
    self->lost("the other side has taken nothing for 10 s");
  } else if (!self->on_air_ && g_atomic_int_get(&self->passed_) >= buffers_on_air) {
    self->on_air_ = true;
    self->since_ = now;
    ++self->connections_;
    std::fprintf(stderr, "on air: %s\n", self->config_.name.c_str());
  } else if (self->on_air_ && now - self->since_ > steady_us) {
    self->failures_ = 0;
  }
  return G_SOURCE_CONTINUE;
}

void Output::lost(const std::string& why) {
  close();
  since_ = g_get_monotonic_time();
  const std::string text = config_.name + ": " + why;
  if (finishing_since_ || failures_ >= config_.retries) {
    end(text);
    return;
  }
  ++failures_;
  std::fprintf(stderr, "%s; the generator goes on, trying again in two seconds (%u of %u)\n", text.c_str(),
               failures_, config_.retries);
}

void Output::close() {
  relay_.detach();
  if (!pipeline_) return;
  g_autoptr(GstBus) bus = gst_element_get_bus(pipeline_);
  gst_bus_set_flushing(bus, TRUE);
  gst_bus_remove_watch(bus);
  gst_element_set_state(pipeline_, GST_STATE_NULL);
  gst_clear_object(&pipeline_);
}

void Output::end(const std::string& why) {
  if (!ended_) return;
  const auto ended = std::exchange(ended_, nullptr);
  ended(why);
}
