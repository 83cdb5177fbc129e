// SPDX-License-Identifier: LGPL-2.1-or-later
// Owners for GLib's and GStreamer's objects, and the way back to the main loop.
//
// Threads of flowcache-live and flowcache-send: one GMainLoop owns every pipeline's changes and all state.
// Streaming threads only pass encoded frames on (tap.h); what else they have to tell goes through on_main().
// State changes that may wait for a network or for the engine run on threads of GStreamer's (stop_later(),
// live's Generator::change_policy()).
#pragma once

#include <glib-object.h>
#include <gst/gst.h>

#include <functional>
#include <memory>
#include <string>

namespace flowcache {

template <auto release>
struct Release {
  template <typename T>
  void operator()(T* object) const {
    release(object);
  }
};

template <typename T>
using ObjectPtr = std::unique_ptr<T, Release<g_object_unref>>;
template <typename T>
using GstPtr = std::unique_ptr<T, Release<gst_object_unref>>;
using SamplePtr = std::unique_ptr<GstSample, Release<gst_sample_unref>>;
using CapsPtr = std::unique_ptr<GstCaps, Release<gst_caps_unref>>;
using StructurePtr = std::unique_ptr<GstStructure, Release<gst_structure_free>>;
using TextPtr = std::unique_ptr<char, Release<g_free>>;

/// The sentence of an error, which is freed.
std::string take_message(GError* error);
/// What an ERROR message says, with the last line of the element's own explanation.
std::string error_text(GstMessage* message);

/// Runs `work` in the main loop, later. Any thread.
void on_main(std::function<void()> work);
/// Runs `work` in the main loop after so many milliseconds, once; returns what g_source_remove() takes. Main
/// loop.
guint after(guint milliseconds, std::function<void()> work);

/// Parses a gst-launch line into a pipeline on the system clock with this base time, so that running times of
/// all pipelines of the program are the same. Null and a sentence if it cannot be.
GstPtr<GstElement> make_pipeline(const std::string& line, GstClockTime base_time, std::string* error);
/// Sets a pipeline to NULL on another thread and releases it: a network sink may take its time. Main loop.
void stop_later(GstPtr<GstElement> pipeline);
/// Keeps wait_for_stops() waiting until the last copy is gone. Main loop.
std::shared_ptr<void> hold_exit();
/// Waits until what stop_later() and hold_exit() began is over, at most so long.
void wait_for_stops(guint milliseconds);

/// The child of that name; it exists. Borrowed as long as the pipeline lives.
GstElement* child(GstElement* pipeline, const char* name);

}  // namespace flowcache
