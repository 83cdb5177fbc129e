// SPDX-License-Identifier: LGPL-2.1-or-later
// Files that GStreamer's own elements read for the source: scripts and pictures.
#pragma once

#include <gst/gst.h>

#include <functional>
#include <string>

namespace flowcache::gst {

/// Empty, or why this file cannot be read, before anybody reads it. A sentence's end: "is no regular file."
std::string file_problem(const std::string& path, goffset most_bytes);

/// A pipeline that runs a file's content into a sink, owned. Its elements are looked up by name.
class FileReader {
 public:
  FileReader() = default;
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  /// launch: a gst-launch line with a filesrc named "file" and a fakesink named "sink". `handoff` is called
  /// with `user` for every buffer, on the streaming thread, as GstFakeSink's signal. Empty, or what is
  /// missing.
  std::string open(const std::string& launch, const std::string& path, GCallback handoff, gpointer user);
  GstElement* pipeline() const { return pipeline_; }
  /// Blocks to the end of the file; asks `go_on` many times a second. Nothing runs any more when it returns.
  /// Empty, or why it did not get there: `unknown` if the file is of another type.
  std::string run(const char* unknown, GstClockTime patience, const std::function<bool()>& go_on);

 private:
  GstElement* pipeline_ = nullptr;
};

}  // namespace flowcache::gst
