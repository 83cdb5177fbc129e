// SPDX-License-Identifier: LGPL-2.1-or-later
#include "pipeline_clock.h"

namespace flowcache::gst {

PipelineClock::PipelineClock(GstElement* element) {
  GST_OBJECT_LOCK(element);
  if (GST_ELEMENT_CLOCK(element) != nullptr) {
    clock_ = GST_CLOCK_CAST(gst_object_ref(GST_ELEMENT_CLOCK(element)));
  }
  base_time_ = element->base_time;
  GST_OBJECT_UNLOCK(element);
}

GstClockTime PipelineClock::running_time() const {
  const GstClockTime now = gst_clock_get_time(clock_);
  return now > base_time_ ? now - base_time_ : 0;
}

GstClockTime PipelineClock::time_at(GstClockTime running_time) const {
  const GstClockTime most = GST_CLOCK_TIME_NONE - 1;
  return running_time > most - base_time_ ? most : base_time_ + running_time;
}

}  // namespace flowcache::gst
