// SPDX-License-Identifier: LGPL-2.1-or-later
// Carries encoded streams from a generator that never stops to an output that comes and goes.
#pragma once

#include <gst/app/gstappsink.h>
#include <gst/app/gstappsrc.h>
#include <gst/gst.h>

#include <cstdint>
#include <mutex>

/// What went through a Relay since it was made, in video frames.
struct RelayCounts {
  uint64_t generated = 0, sent = 0, dropped = 0;  ///< dropped: while an output was attached
};

/// The generator has appsinks "video" and, if there is sound, "audio" that wait for the clock; an output has
/// appsrcs of the same names. Samples are handed over without copying their bytes and without ever waiting.
/// Any thread.
class Relay {
 public:
  /// Takes no reference: the generator must outlive the relay and be in NULL when the relay goes.
  explicit Relay(GstElement* generator);
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;
  ~Relay() { detach(); }

  /// Gives the output the generator's clock and a running time that starts now, asks the encoder for a key
  /// frame and hands over from that frame on. Before the output leaves NULL; the generator is PLAYING.
  void attach(GstElement* output);
  /// After this no sample reaches the output, and what comes is dropped.
  void detach();
  /// Tells the output that nothing more comes.
  void end();
  /// How long the output has taken nothing, in nanoseconds; 0 if it takes.
  GstClockTime stalled() const;
  RelayCounts counts() const;

 private:
  struct Track {
    Relay* relay = nullptr;
    bool video = false;
    GstAppSink* from = nullptr;
    GstAppSrc* to = nullptr;
  };
  static GstFlowReturn on_sample(GstAppSink*, gpointer track);
  void forward(Track* track, GstSample* sample);
  bool wanted(const Track& track, GstBuffer* buffer, GstClockTime running_time);

  GstElement* generator_;
  mutable std::mutex mutex_;  // guards all below and is held while a sample is handed over
  Track video_, audio_;
  GstClockTime start_ = 0;       // the generator's running time that is the output's zero
  GstClockTime full_since_ = 0;  // in the clock's time; 0: not full
  bool waiting_for_key_frame_ = true;
  RelayCounts counts_;
};
