// SPDX-License-Identifier: LGPL-2.1-or-later
#include "script.h"

#include <glib/gstdio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "settings.h"

namespace flowcache::gst {
namespace {

constexpr GstClockTime kPatience = 5 * GST_SECOND;
constexpr const char* kRemedy = "Give a subtitle file with a prompt as the text of each cue.";

std::string decode_entities(const std::string& text) {
  static constexpr std::pair<const char*, const char*> kEntities[] = {
      {"&lt;", "<"},   {"&gt;", ">"}, {"&quot;", "\""}, {"&apos;", "'"}, {"&#39;", "'"},
      {"&nbsp;", " "}, {"&lrm;", ""}, {"&rlm;", ""},    {"&amp;", "&"}};
  std::string plain;
  for (size_t at = 0; at < text.size();) {
    const auto* found = std::find_if(std::begin(kEntities), std::end(kEntities), [&](const auto& entity) {
      return text.compare(at, std::strlen(entity.first), entity.first) == 0;
    });
    if (found == std::end(kEntities)) {
      plain += text[at++];
      continue;
    }
    plain += found->second;
    at += std::strlen(found->first);
  }
  return plain;
}

std::string without_tags(const std::string& text) {
  std::string plain;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text[at] == '<' ? text.find('>', at) : std::string::npos;
    if (end == std::string::npos) {
      plain += text[at++];
    } else {
      at = end + 1;
    }
  }
  return plain;
}

/// filesrc ! subparse ! fakesink, owned.
struct Reader {
  GstElement* pipeline = nullptr;
  GstElement* sink = nullptr;
  std::vector<Cue> cues;

  ~Reader() {
    if (pipeline == nullptr) return;
    gst_element_set_state(pipeline, GST_STATE_NULL);
    gst_object_unref(sink);
    gst_object_unref(pipeline);
  }

  static void take(GstElement*, GstBuffer* buffer, GstPad*, gpointer user) {
    GstMapInfo map;
    if (!GST_BUFFER_PTS_IS_VALID(buffer) || !gst_buffer_map(buffer, &map, GST_MAP_READ)) return;
    const std::string text(reinterpret_cast<const char*>(map.data), map.size);
    gst_buffer_unmap(buffer, &map);
    static_cast<Reader*>(user)->cues.push_back({GST_BUFFER_PTS(buffer), plain_text(text)});
  }
};

/// Empty, or what is wrong with the file before anybody reads it.
std::string file_problem(const std::string& path) {
  GStatBuf file{};
  if (g_stat(path.c_str(), &file) != 0) return "cannot be opened: " + std::string(g_strerror(errno)) + ".";
  if (!S_ISREG(file.st_mode)) return "is no regular file.";
  if (file.st_size > kMaxScriptBytes) {
    return "has " + std::to_string(file.st_size) + " bytes, the limit is " + std::to_string(kMaxScriptBytes) +
           ": split it.";
  }
  return {};
}

/// Runs the pipeline to its end; empty, or why it did not get there.
std::string run(Reader& reader) {
  GstBus* bus = gst_element_get_bus(reader.pipeline);
  gst_element_set_state(reader.pipeline, GST_STATE_PLAYING);
  GstMessage* message = gst_bus_timed_pop_filtered(
      bus, kPatience, static_cast<GstMessageType>(GST_MESSAGE_EOS | GST_MESSAGE_ERROR));
  std::string problem;
  if (message == nullptr) {
    problem = "took longer than 5 seconds to read.";
  } else if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
    GError* error = nullptr;
    gst_message_parse_error(message, &error, nullptr);
    const bool unknown = g_error_matches(error, GST_STREAM_ERROR, GST_STREAM_ERROR_WRONG_TYPE);
    problem = unknown ? "is neither SRT nor WebVTT." : std::string("cannot be read: ") + error->message;
    g_clear_error(&error);
  }
  if (message != nullptr) gst_message_unref(message);
  gst_object_unref(bus);
  // Joins the streaming thread, so that nobody adds cues any more.
  gst_element_set_state(reader.pipeline, GST_STATE_NULL);
  return problem;
}

std::string open_reader(const std::string& path, Reader& reader) {
  GstElement* source = gst_element_factory_make("filesrc", nullptr);
  GstElement* parser = gst_element_factory_make("subparse", nullptr);
  GstElement* sink = gst_element_factory_make("fakesink", nullptr);
  if (source == nullptr || parser == nullptr || sink == nullptr) {
    for (GstElement* one : {source, parser, sink}) {
      if (one != nullptr) gst_object_unref(gst_object_ref_sink(one));
    }
    return "cannot be read: GStreamer's element subparse is missing; install gstreamer1.0-plugins-base.";
  }
  g_object_set(source, "location", path.c_str(), nullptr);
  g_object_set(sink, "signal-handoffs", TRUE, "sync", FALSE, nullptr);
  reader.pipeline = GST_ELEMENT(gst_object_ref_sink(gst_pipeline_new(nullptr)));
  reader.sink = GST_ELEMENT(gst_object_ref(sink));
  gst_bin_add_many(GST_BIN(reader.pipeline), source, parser, sink, nullptr);
  gst_element_link_many(source, parser, sink, nullptr);
  g_signal_connect(sink, "handoff", G_CALLBACK(Reader::take), &reader);
  return {};
}

/// The first cue that cannot be a prompt.
std::string cue_problem(const std::vector<Cue>& cues) {
  for (const Cue& cue : cues) {
    if (const auto problem = prompt_problem(cue.text)) {
      return "has a cue at " + std::to_string(cue.start / GST_MSECOND) + " ms that is no prompt: " + *problem;
    }
  }
  return {};
}

}  // namespace

std::string plain_text(const std::string& markup) {
  std::string plain;
  bool gap = false;
  // Twice: `subparse` escapes what it passes on, and the file may have had entities already.
  for (const char c : without_tags(decode_entities(decode_entities(markup)))) {
    if (g_ascii_isspace(c) || c == '\0') {
      gap = !plain.empty();
      continue;
    }
    if (gap) plain += ' ';
    gap = false;
    plain += c;
  }
  return plain;
}

std::vector<Cue> load_script(const std::string& path, std::string* error) {
  Reader reader;
  std::string problem = file_problem(path);
  if (problem.empty()) problem = open_reader(path, reader);
  if (problem.empty()) problem = run(reader);
  std::erase_if(reader.cues, [](const Cue& cue) { return cue.text.empty(); });
  if (problem.empty() && reader.cues.empty()) problem = "has no cues with text.";
  if (problem.empty()) problem = cue_problem(reader.cues);
  if (!problem.empty()) {
    g_autofree char* name = g_utf8_make_valid(path.c_str(), -1);
    *error = "The script \"" + std::string(name) + "\" " + problem + " " + kRemedy;
    return {};
  }
  std::stable_sort(reader.cues.begin(), reader.cues.end(),
                   [](const Cue& a, const Cue& b) { return a.start < b.start; });
  return std::move(reader.cues);
}

}  // namespace flowcache::gst
