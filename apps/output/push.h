// SPDX-License-Identifier: LGPL-2.1-or-later
// An output that is a pipeline of its own, from one or two taps to a sink of GStreamer, for RTMP and SRT.
#pragma once

#include "output.h"
#include "tap.h"

namespace flowcache {

// The sources of an output. They outlive it.
struct Streams {
  GstElement* generator;  // the generator's pipeline, made by make_pipeline()
  Tap* video;
  Tap* sound;  // null: no sound
};

class Push : public Output {
 public:
  // `line`, as gst-launch-1.0 reads it, begins with an appsrc "video" and, if there is sound, an appsrc
  // "audio", and ends in a sink "sink".
  Push(Config config, Events events, std::string line, const Streams& streams);
  ~Push() override { Push::close(); }

  OutputFrames frames() const override;

 protected:
  std::string open() override;
  void close() override;
  void drain() override;
  void look() override;

 private:
  using Passed = std::shared_ptr<std::atomic<unsigned>>;
  static gboolean on_bus(GstBus*, GstMessage* message, gpointer self);
  GstClockTime latency() const;

  const std::string line_;
  const Streams streams_;
  GstPtr<GstElement> pipeline_;
  std::shared_ptr<Tap::Consumer> video_, sound_;
  Passed passed_;        // buffers that reached the sink
  OutputFrames before_;  // of earlier attempts
  bool draining_ = false;
};

}  // namespace flowcache
