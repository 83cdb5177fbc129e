// SPDX-License-Identifier: LGPL-2.1-or-later
#include "handles.h"

#include <atomic>

namespace flowcache {
namespace {

std::atomic<int> stopping{0};

using Work = std::function<void()>;

gboolean run_once(gpointer data) {
  (*static_cast<Work*>(data))();
  return G_SOURCE_REMOVE;
}

void free_work(gpointer data) {
  delete static_cast<Work*>(data);
}

}  // namespace

std::string take_message(GError* error) {
  const std::string message = error != nullptr ? error->message : "unknown error";
  g_clear_error(&error);
  return message;
}

std::string error_text(GstMessage* message) {
  GError* error = nullptr;
  char* debug = nullptr;
  gst_message_parse_error(message, &error, &debug);
  const TextPtr owner(debug);
  std::string why = debug != nullptr ? debug : "";
  while (!why.empty() && why.back() == '\n') why.pop_back();
  why.erase(0, why.rfind('\n') + 1);
  return take_message(error) + (why.empty() ? "" : " (" + why + ")");
}

void on_main(Work work) {
  g_idle_add_full(G_PRIORITY_DEFAULT, run_once, new Work(std::move(work)), free_work);
}

guint after(guint milliseconds, Work work) {
  return g_timeout_add_full(G_PRIORITY_DEFAULT, milliseconds, run_once, new Work(std::move(work)), free_work);
}

GstPtr<GstElement> make_pipeline(const std::string& line, GstClockTime base_time, std::string* error) {
  GError* problem = nullptr;
  GstElement* parsed = gst_parse_launch_full(line.c_str(), nullptr, GST_PARSE_FLAG_FATAL_ERRORS, &problem);
  if (parsed == nullptr) {
    *error = take_message(problem);
    return nullptr;
  }
  g_clear_error(&problem);
  GstPtr<GstElement> pipeline(GST_ELEMENT(gst_object_ref_sink(parsed)));
  const GstPtr<GstClock> clock(gst_system_clock_obtain());
  gst_pipeline_use_clock(GST_PIPELINE(parsed), clock.get());
  gst_element_set_start_time(parsed, GST_CLOCK_TIME_NONE);
  gst_element_set_base_time(parsed, base_time);
  return pipeline;
}

void stop_later(GstPtr<GstElement> pipeline) {
  if (!pipeline) return;
  const GstPtr<GstBus> bus(gst_element_get_bus(pipeline.get()));
  gst_bus_remove_watch(bus.get());
  ++stopping;
  gst_element_call_async(
      pipeline.get(), [](GstElement* element, gpointer) { gst_element_set_state(element, GST_STATE_NULL); },
      nullptr, [](gpointer) { --stopping; });
}

std::shared_ptr<void> hold_exit() {
  ++stopping;
  return {nullptr, [](void*) { --stopping; }};
}

void wait_for_stops(guint milliseconds) {
  const gint64 end = g_get_monotonic_time() + gint64{milliseconds} * 1000;
  while (stopping > 0 && g_get_monotonic_time() < end) {
    g_main_context_iteration(nullptr, FALSE);
    g_usleep(5000);
  }
}

GstElement* child(GstElement* pipeline, const char* name) {
  GstElement* found = gst_bin_get_by_name(GST_BIN(pipeline), name);
  g_assert(found != nullptr);
  gst_object_unref(found);  // the bin holds it
  return found;
}

}  // namespace flowcache
