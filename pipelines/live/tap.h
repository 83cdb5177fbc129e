// SPDX-License-Identifier: LGPL-2.1-or-later
// One encoder's output, handed to any number of pipelines that have an appsrc. Nobody can hold up the
// encoder: who does not keep up loses frames until the next key frame.
#pragma once

#include <gst/app/app.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "handles.h"

namespace flowcache::live {

class Tap {
 public:
  /// Most frames that wait in a consumer; half a second at 16 frames a second.
  static constexpr guint64 most_waiting = 8;

  class Consumer {
   public:
    guint64 sent() const { return sent_; }
    guint64 dropped() const { return dropped_; }

   private:
    friend class Tap;
    GstPtr<GstElement> source_;
    bool needs_keyframe_ = true;  // streaming thread only
    std::atomic<guint64> sent_{0}, dropped_{0};
  };

  /// Both belong to a pipeline that outlives the tap. The valve is closed while nobody listens, so that the
  /// encoder rests.
  Tap(GstElement* appsink, GstElement* valve);

  /// From now on frames go to `appsrc`, beginning with a key frame, with running times as timestamps. Main
  /// loop.
  std::shared_ptr<Consumer> attach(GstElement* appsrc);
  /// No frame is on its way any more when this returns. Main loop.
  void detach(const std::shared_ptr<Consumer>& consumer);
  /// At most one key frame a second, however many ask. Any thread.
  void request_keyframe();
  size_t consumers() const;

 private:
  static GstFlowReturn new_sample(GstAppSink* sink, gpointer self);
  void pass_on(GstSample* sample);
  void send_wanted_keyframe();

  GstElement* const sink_;
  GstElement* const valve_;
  mutable std::mutex mutex_;  // consumers_; held while pushing into appsrc, which never waits
  std::vector<std::shared_ptr<Consumer>> consumers_;
  std::atomic<bool> keyframe_wanted_{false};
  gint64 last_keyframe_ = 0;  // streaming thread only
};

}  // namespace flowcache::live
