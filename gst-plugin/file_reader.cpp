// SPDX-License-Identifier: LGPL-2.1-or-later
#include "file_reader.h"

#include <glib/gstdio.h>

#include <cerrno>

namespace flowcache::gst {
namespace {

/// What a problem looks like that ended the pipeline.
std::string problem_of(GstMessage* message, const char* unknown) {
  GError* error = nullptr;
  gst_message_parse_error(message, &error, nullptr);
  const bool other_type = g_error_matches(error, GST_STREAM_ERROR, GST_STREAM_ERROR_WRONG_TYPE) ||
                          g_error_matches(error, GST_STREAM_ERROR, GST_STREAM_ERROR_TYPE_NOT_FOUND);
  const std::string problem = other_type ? unknown : std::string("cannot be read: ") + error->message;
  g_clear_error(&error);
  return problem;
}

}  // namespace

std::string file_problem(const std::string& path, goffset most_bytes) {
  GStatBuf file{};
  if (g_stat(path.c_str(), &file) != 0) return "cannot be opened: " + std::string(g_strerror(errno)) + ".";
  if (!S_ISREG(file.st_mode)) return "is no regular file.";
  if (file.st_size <= most_bytes) return {};
  return "has " + std::to_string(file.st_size) + " bytes, the limit is " + std::to_string(most_bytes) +
         ": split it.";
}

FileReader::~FileReader() {
  if (pipeline_ == nullptr) return;
  gst_element_set_state(pipeline_, GST_STATE_NULL);
  gst_object_unref(pipeline_);
}

std::string FileReader::open(const std::string& launch, const std::string& path, GCallback handoff,
                             gpointer user) {
  GError* error = nullptr;
  GstElement* made = gst_parse_launch(launch.c_str(), &error);
  if (made != nullptr) pipeline_ = GST_ELEMENT(gst_object_ref_sink(made));
  if (error != nullptr) {
    const std::string problem = std::string("cannot be read: ") + error->message +
                                "; install gstreamer1.0-plugins-base and gstreamer1.0-plugins-good.";
    g_clear_error(&error);
    return problem;
  }
  GstElement* file = gst_bin_get_by_name(GST_BIN(pipeline_), "file");
  GstElement* sink = gst_bin_get_by_name(GST_BIN(pipeline_), "sink");
  g_object_set(file, "location", path.c_str(), nullptr);
  g_object_set(sink, "signal-handoffs", TRUE, "sync", FALSE, nullptr);
  g_signal_connect(sink, "handoff", handoff, user);
  gst_object_unref(file);
  gst_object_unref(sink);
  return {};
}

std::string FileReader::run(const char* unknown, GstClockTime patience, const std::function<bool()>& go_on) {
  constexpr GstClockTime kLook = 20 * GST_MSECOND;
  constexpr auto kEnds = static_cast<GstMessageType>(GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  GstBus* bus = gst_element_get_bus(pipeline_);
  gst_element_set_state(pipeline_, GST_STATE_PLAYING);
  GstMessage* message = nullptr;
  bool wanted = true;
  for (GstClockTime waited = 0; message == nullptr && wanted && waited < patience; waited += kLook) {
    message = gst_bus_timed_pop_filtered(bus, kLook, kEnds);
    wanted = go_on();
  }
  std::string problem;
  if (!wanted) {
    problem = "was not read to its end.";
  } else if (message == nullptr) {
    problem = "took longer than " + std::to_string(patience / GST_SECOND) + " seconds to read.";
  } else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
    problem = problem_of(message, unknown);
  }
  if (message != nullptr) gst_message_unref(message);
  gst_object_unref(bus);
  // Joins the streaming threads, so that nobody calls the handoff any more.
  gst_element_set_state(pipeline_, GST_STATE_NULL);
  return problem;
}

}  // namespace flowcache::gst
