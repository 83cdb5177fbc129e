// SPDX-License-Identifier: LGPL-2.1-or-later
// Gives flowcachefilter a frame at each of its times, by the clock, whatever the input does: one that is slow,
// freezes or goes holds up nobody. A frame that is missing is replaced by the one before. While there is no input
// the filter gets a grey still and works with strength 1, so it shows what the prompt says.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "frame_rate.h"
#include "handles.h"

namespace flowcache::live {

class FrameFeeder {
 public:
  // How long the last frame of an input that gives none stands.
  static constexpr gint64 patience = 2 * G_USEC_PER_SEC;

  struct Figures {
    guint64 frames = 0;    // that came in
    guint64 dropped = 0;   // of those, not shown: they came faster than the model's rate
    guint64 repeated = 0;  // times that a frame was shown again
    gint64 age = -1;       // microseconds since the last one came; -1: none has come, or the input has gone
    bool flowing = false;  // one has come within the patience
  };

  // `source`, an appsrc, feeds `filter`; both belong to a pipeline with this base time.
  FrameFeeder(GstElement* source, GstElement* filter, GstCaps* caps, GstClockTime base_time);
  ~FrameFeeder();
  FrameFeeder(const FrameFeeder&) = delete;
  FrameFeeder& operator=(const FrameFeeder&) = delete;

  // Gives no more frames. Main loop.
  void stop();
  GstCaps* caps() const { return caps_.get(); }
  // How much is painted over while there is an input.
  void set_strength(double strength);
  double strength() const;
  // A chunk has so many frames: until that many of the input have gone in, the filter ignores them.
  void set_chunk(unsigned frames);
  // A frame of these caps. Any thread.
  void offer(GstBuffer* frame);
  // The input has gone: its last frame is not shown any longer.
  void forget();
  Figures figures() const;
  // The last frame of an input that flows; null if there is none. The caller's.
  GstBuffer* newest() const;

 private:
  void run();
  // When the next frame is due, as running time.
  GstClockTime time_of(guint64 slot) const;
  GstClockTime now() const;
  // What is due now: the frame, which is the caller's, and the strength for it.
  std::pair<GstBuffer*, double> next_frame();
  bool flowing_at(gint64 time) const { return frame_ && last_came_ != 0 && time - last_came_ < patience; }

  // As many frames wait as it takes to even out how they come.
  static constexpr size_t most_waiting = 2;
  struct Unref {
    void operator()(GstBuffer* buffer) const { gst_buffer_unref(buffer); }
    void operator()(GstCaps* caps) const { gst_caps_unref(caps); }
  };
  using BufferPtr = std::unique_ptr<GstBuffer, Unref>;

  const GstPtr<GstElement> source_, filter_;
  const std::unique_ptr<GstCaps, Unref> caps_;
  const GstClockTime base_time_;
  FrameRate rate_;
  BufferPtr still_;

  mutable std::mutex mutex_;
  std::condition_variable stopped_;
  bool stopping_ = false;
  std::deque<BufferPtr> waiting_;
  BufferPtr frame_, newest_;  // the one that is shown, and the last that came
  Figures counts_;
  gint64 last_came_ = 0;                                 // 0: none, or the input has gone
  unsigned chunk_ = 1000, settled_ = 0, unsettled_ = 0;  // chunk_: until its first frame says it
  double strength_ = 0.87;
  double strength_in_force_ = -1;  // the thread's
  std::thread thread_;
};

}  // namespace flowcache::live
