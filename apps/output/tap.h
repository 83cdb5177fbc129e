// SPDX-License-Identifier: LGPL-2.1-or-later
// Passes one encoded track of a generator to any number of pipelines, which come and go. Each has an appsrc.
// None of them can hold up the encoder: one that does not keep up loses frames until the next key frame.
#pragma once

#include <gst/app/app.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "handles.h"

namespace flowcache {

class Tap {
 public:
  // How much may wait in a consumer, in addition to the latency of its pipeline.
  static constexpr GstClockTime most_waiting = 2 * GST_SECOND;

  // One pipeline that gets frames. Any thread may read its figures.
  class Consumer {
   public:
    guint64 sent() const { return sent_; }
    guint64 dropped() const { return dropped_; }
    // Duration of the frames that wait in it.
    GstClockTime waiting() const;
    // How long it has been full, in microseconds; 0 if it is not.
    gint64 stalled() const;
    // How long its muxer or sink has to wait for frames. Call this when the generator's latency has changed.
    // Main loop.
    void set_latency(GstClockTime latency);

   private:
    friend class Tap;
    GstPtr<GstElement> source_;
    std::shared_ptr<const Consumer> picture_;
    bool needs_keyframe_ = true;  // streaming thread only
    std::atomic<guint64> sent_{0}, dropped_{0};
    std::atomic<GstClockTime> latency_{0};
    std::atomic<gint64> full_since_{0};
  };

  // The elements belong to a pipeline that outlives the tap. `valve` may be null; it is closed while there
  // is no consumer, so that the encoder rests. `first` is called once, in the main loop, when the first
  // frame has come.
  Tap(GstElement* appsink, GstElement* valve, std::function<void()> first = nullptr);
  ~Tap();
  Tap(const Tap&) = delete;
  Tap& operator=(const Tap&) = delete;

  // From now on frames go to `appsrc`, beginning with a key frame. Their timestamps are running times. For a
  // sound track `picture` is the consumer of the video track: sound begins after the picture. Main loop.
  std::shared_ptr<Consumer> attach(GstElement* appsrc, GstClockTime latency = 0,
                                   std::shared_ptr<const Consumer> picture = nullptr);
  // When this returns, no more frames go to the consumer. Main loop.
  void detach(const std::shared_ptr<Consumer>& consumer);
  // Asks the encoder for a key frame; at most one a second is made. Any thread.
  void request_keyframe() { keyframe_wanted_ = true; }
  // How much later than its timestamp a frame may come here; 0 until that is known.
  GstClockTime latency() const;
  // Frames that came out of the encoder.
  guint64 frames() const { return frames_; }

 private:
  static GstFlowReturn new_sample(GstAppSink* sink, gpointer self);
  void pass_on(GstSample* sample);
  bool takes(Consumer& consumer, bool key);
  void send_wanted_keyframe();

  GstElement* const sink_;
  GstElement* const valve_;
  std::function<void()> first_;
  mutable std::mutex mutex_;  // consumers_; held while pushing into appsrc, which never waits
  std::vector<std::shared_ptr<Consumer>> consumers_;
  std::atomic<guint64> frames_{0};
  std::atomic<bool> keyframe_wanted_{false};
  gint64 last_keyframe_ = 0;  // streaming thread only
};

}  // namespace flowcache
