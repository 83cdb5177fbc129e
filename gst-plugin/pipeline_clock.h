// SPDX-License-Identifier: LGPL-2.1-or-later
// An element's clock and base time at one moment.
#pragma once

#include <gst/gst.h>

namespace flowcache::gst {

/// Read together, once, and then fixed: a pause may bring another clock and another base time, so nobody
/// keeps one of these over a wait. Any thread.
class PipelineClock {
 public:
  explicit PipelineClock(GstElement* element);
  ~PipelineClock() { gst_clear_object(&clock_); }
  PipelineClock(const PipelineClock&) = delete;
  PipelineClock& operator=(const PipelineClock&) = delete;

  /// Null before the element first plays, or in a pipeline without one. Not owned by the caller.
  GstClock* clock() const { return clock_; }
  /// Of the clock now; not before 0. Only with a clock. It means nothing while the pipeline is paused.
  GstClockTime running_time() const;
  /// The clock's time at a running time; the end of the scale rather than more.
  GstClockTime time_at(GstClockTime running_time) const;

 private:
  GstClock* clock_ = nullptr;
  GstClockTime base_time_ = 0;
};

}  // namespace flowcache::gst
