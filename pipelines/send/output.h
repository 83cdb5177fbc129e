// SPDX-License-Identifier: LGPL-2.1-or-later
// One way out of flowcache-send: a pipeline that is made anew when its other side has gone away.
#pragma once

#include <gst/gst.h>

#include <functional>
#include <string>

#include "relay.h"

/// What an ERROR message says, with the element's own explanation, in one line.
std::string error_text(GstMessage* message);

/// Lives in the default main context; every function is for its thread.
class Output {
 public:
  struct Config {
    std::string name;         ///< for messages, for example the address
    std::string description;  ///< as gst-launch-1.0 reads it: appsrcs "video" and "audio", a sink "sink"
    unsigned retries = 0;     ///< in a row, two seconds apart
  };

  /// `ended` is called once when there will be no more attempts; empty text: the stream ended as it should.
  Output(Config config, Relay& relay, std::function<void(std::string)> ended);
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  ~Output();

  /// The generator is PLAYING. A description that cannot be parsed ends the output at once.
  void start();
  /// Nothing more comes: lets the output finish, for five seconds at most.
  void finish();
  unsigned connections() const { return connections_; }

 private:
  static gboolean on_message(GstBus*, GstMessage* message, gpointer self);
  static GstPadProbeReturn on_buffer(GstPad*, GstPadProbeInfo*, gpointer self);
  static gboolean on_tick(gpointer self);
  void lost(const std::string& why);
  void close();
  void end(const std::string& why);

  Config config_;
  Relay& relay_;
  std::function<void(std::string)> ended_;
  GstElement* pipeline_ = nullptr;
  unsigned failures_ = 0, connections_ = 0;
  int passed_ = 0;       // buffers that reached the sink; atomic
  bool on_air_ = false;  // enough of them did
  gint64 since_ = 0, finishing_since_ = 0;
  guint tick_ = 0;
};
