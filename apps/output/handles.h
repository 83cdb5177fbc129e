// SPDX-License-Identifier: LGPL-2.1-or-later
// Smart pointers for objects of GLib and GStreamer, and functions that run work in the main loop.
//
// Threads of flowcache-live and flowcache-send: all state belongs to one GMainLoop, and only it changes
// pipelines. Streaming threads pass encoded frames on (tap.h) and use on_main() for everything else. State
// changes that may wait for a network or for the engine run on GStreamer's threads (stop_later(), and
// Generator::change_policy() of flowcache-live).
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

// Returns the error's message and frees the error.
std::string take_message(GError* error);
// The text of an ERROR message, with the last line of its debug text.
std::string error_text(GstMessage* message);

// Runs `work` in the main loop, later. Any thread.
void on_main(std::function<void()> work);
// Runs `work` in the main loop after so many milliseconds, once; returns what g_source_remove() takes. Main
// loop.
guint after(guint milliseconds, std::function<void()> work);

// Parses a gst-launch line into a pipeline on the system clock with this base time, so that running times of
// all pipelines of the program are the same. Returns null and a sentence if the line is wrong.
GstPtr<GstElement> make_pipeline(const std::string& line, GstClockTime base_time, std::string* error);
// Sets a pipeline to NULL on another thread and releases it: a network sink may take its time. Main loop.
void stop_later(GstPtr<GstElement> pipeline);
// Keeps wait_for_stops() waiting until the last copy is gone. Main loop.
std::shared_ptr<void> hold_exit();
// Waits until everything that stop_later() and hold_exit() began has ended, but not longer than this.
void wait_for_stops(guint milliseconds);

// The child of that name, which must exist. The pipeline owns it.
GstElement* child(GstElement* pipeline, const char* name);

}  // namespace flowcache
