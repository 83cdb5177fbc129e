// SPDX-License-Identifier: LGPL-2.1-or-later
// Tools for the element's tests: the fake engine's gate and counters, a harness on a test clock, and eyes for
// pictures.
#pragma once

#include <gst/check/gstharness.h>
#include <gst/check/gsttestclock.h>
#include <gst/gst.h>
#include <gst/video/video.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace element_test {

/// What is waited for takes so long only if it never comes, however busy the machine is.
constexpr GstClockTime kPatience = 60 * GST_SECOND;
constexpr GstClockTime kFrame = GST_SECOND / 16;  ///< of the fake model, unless it is told otherwise

/// What the fake engine exports besides flowcache.h.
struct Fake {
  int (*live_engines)();
  int (*live_streams)();
  int (*live_chunks)();
  int (*opened_engines)();
  int (*prompts_taken)();  ///< calls of fc_stream_prompt()
  void (*hold_from)(uint64_t chunk);
  const char* (*opened_with)();  ///< the configuration of the engine opened last
};
const Fake& fake();

/// Opens the gate of the fake engine when the test ends, however it ends.
struct Hold {
  explicit Hold(uint64_t chunk) { fake().hold_from(chunk); }
  ~Hold() { release(); }
  void release() { fake().hold_from(UINT64_MAX); }
};

/// Sets an environment variable for the length of a test.
class ScopedEnv {
 public:
  ScopedEnv(const char* name, const char* value);
  ~ScopedEnv();

 private:
  std::string name_, before_;
  bool had_;
};

/// What a frame of the fake engine says about itself.
struct Seen {
  uint32_t number, hash;
};
Seen look_at(GstBuffer* buffer, const GstVideoInfo& info);
Seen look_at(GstSample* sample);
uint32_t hash_of(const std::string& prompt);

/// Until `condition` holds; false after kPatience.
bool eventually(const std::function<bool()>& condition);

guint64 stat(GstElement* element, const char* field);
double stat_double(GstElement* element, const char* field);

/// One flowcachesrc in a GstHarness with a test clock and a bus of its own.
class Source {
 public:
  /// properties: as on a gst-launch line.
  explicit Source(const std::string& properties, const char* sink_caps = nullptr);
  ~Source();

  GstElement* element() const { return element_; }
  GstHarness* harness() const { return harness_; }
  GstTestClock* clock() const { return clock_; }
  /// Another test clock from now on, that stands at this time.
  void use_clock(GstClockTime time);
  void play() { gst_element_set_state(element_, GST_STATE_PLAYING); }

  /// Lets time pass as the element needs it until a buffer comes; null if none does. `wait_for_ring`:
  /// only lets time pass while frames are ready, so that no underrun is made by the test itself.
  GstBuffer* pull(bool wait_for_ring = true);
  /// Lets time pass up to the next thing that waits for it; false if nothing does. only_with_frames: nor if
  /// no frame is ready.
  bool tick(bool only_with_frames = false);
  /// The PTS of the next `n` buffers.
  std::vector<GstClockTime> pull_times(int n);
  GstVideoInfo info() const;

  /// The next message of these types; null after kPatience.
  GstMessage* message(GstMessageType types);
  /// The next element message of that name with state=`state` (any if null).
  GstMessage* element_message(const char* name, const char* state = nullptr);
  bool has_message(GstMessageType types);

 private:
  GstHarness* harness_;
  GstElement* element_;
  GstTestClock* clock_;
  GstBus* bus_;
};

/// Runs a pipeline until EOS or an error; "" or the error's text (with its debug string after a newline).
std::string run_to_end(GstElement* pipeline, GstMessage** error_message = nullptr);
std::string run_to_end(const std::string& launch_line);

/// Text of an ERROR or WARNING message.
std::string text_of(GstMessage* message);

struct MessageDeleter {
  void operator()(GstMessage* message) const { gst_message_unref(message); }
};
using MessagePtr = std::unique_ptr<GstMessage, MessageDeleter>;
struct BufferDeleter {
  void operator()(GstBuffer* buffer) const { gst_buffer_unref(buffer); }
};
using BufferPtr = std::unique_ptr<GstBuffer, BufferDeleter>;

}  // namespace element_test
