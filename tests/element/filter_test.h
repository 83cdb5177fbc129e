// SPDX-License-Identifier: LGPL-2.1-or-later
// Tools for the tests of flowcachefilter. The fake engine shows in the lower third of a frame what it was fed.
#pragma once

#include <gst/app/gstappsink.h>
#include <gst/app/gstappsrc.h>

#include <string>

#include "element_test.h"

namespace filter_test {

using namespace element_test;

inline constexpr const char* kRgba =
    "video/x-raw,format=RGBA,width=64,height=48,framerate=16/1,colorimetry=sRGB,interlace-mode=progressive,"
    "pixel-aspect-ratio=1/1";

struct SampleDeleter {
  void operator()(GstSample* sample) const { gst_sample_unref(sample); }
};
using SamplePtr = std::unique_ptr<GstSample, SampleDeleter>;

// A frame of RGBA whose bytes all have this value.
GstBuffer* grey(uint8_t level, GstClockTime pts, int width = 64, int height = 48);
GstClockTime pts_of(const SamplePtr& sample);
// What the frame repaints: the first byte of the input's frame.
int fed_of(const SamplePtr& sample);
GstClockTime least_latency(GstElement* element);
// Whether a text has these words.
testing::AssertionResult says(const std::string& text, const std::string& words);

// appsrc before ! flowcachefilter behind ! appsink, and more. before and behind begin with " ! ".
class Filter {
 public:
  explicit Filter(const std::string& properties, const char* caps = kRgba, bool live = false,
                  const std::string& behind = "", const std::string& before = "",
                  const std::string& more = "");
  ~Filter();
  void stop() { gst_element_set_state(pipeline_, GST_STATE_NULL); }

  void use_caps(const char* text);
  void push(GstBuffer* buffer) { gst_app_src_push_buffer(GST_APP_SRC(in_), buffer); }
  // Frames first … last - 1, each at its own place of the grid and as grey as its number.
  void push_frames(int first, int last);
  void end() { gst_app_src_end_of_stream(GST_APP_SRC(in_)); }
  // Null at EOS or after kPatience.
  SamplePtr pull() { return SamplePtr(gst_app_sink_try_pull_sample(GST_APP_SINK(out_), kPatience)); }
  bool has_ended() const { return gst_app_sink_is_eos(GST_APP_SINK(out_)) != FALSE; }
  // Waits until the filter has taken all that was pushed, on this of its pads.
  bool all_taken() const { return all_taken(in_, "sink"); }
  bool all_taken(GstElement* source, const char* pad) const;
  // The next message of these types that `wanted` accepts; null after kPatience.
  MessagePtr message(GstMessageType types, const std::function<bool(GstMessage*)>& wanted = nullptr);
  MessagePtr element_message(const char* name);
  // The next `flowcache-prompt` with this prompt and state.
  MessagePtr prompt_message(const char* prompt, const char* state);
  bool has_message(GstMessageType types);
  // Waits until the model is loaded.
  bool is_loaded();
  GstElement* element() const { return element_; }
  GstElement* input() const { return in_; }
  GstElement* output() const { return out_; }
  GstElement* pipeline() const { return pipeline_; }

 private:
  GstElement *pipeline_, *in_, *out_, *element_;
  GstBus* bus_;
};

}  // namespace filter_test
