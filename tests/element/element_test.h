// SPDX-License-Identifier: LGPL-2.1-or-later
// Tools for the element's tests: control of the fake engine, a harness on a test clock, and functions that
// read pictures.
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

// A wait takes this long only if it is in vain, however busy the machine is.
constexpr GstClockTime kPatience = 60 * GST_SECOND;
constexpr GstClockTime kFrame =
    GST_SECOND / 16;  // duration of a frame of the fake model, unless a test changes it

// Functions of the fake engine that are not in flowcache.h.
struct Fake {
  int (*live_engines)();
  int (*live_streams)();
  int (*live_chunks)();
  int (*opened_engines)();
  int (*prompts_taken)();  // number of calls of fc_stream_prompt()
  int (*restarts)();       // number of calls of fc_stream_feed() with restart
  int (*fed_from_cuda)();  // number of frames that were fed in CUDA memory
  void (*hold_from)(uint64_t chunk);
  const char* (*opened_with)();  // the configuration of the engine opened last
};
const Fake& fake();

// Opens the gate of the fake engine at the end of the test, also if the test fails.
struct Hold {
  explicit Hold(uint64_t chunk) { fake().hold_from(chunk); }
  ~Hold() { release(); }
  void release() { fake().hold_from(UINT64_MAX); }
};

// Sets an environment variable for the duration of a test.
class ScopedEnv {
 public:
  ScopedEnv(const char* name, const char* value);
  ~ScopedEnv();

 private:
  std::string name_, before_;
  bool had_;
};

// What can be read from a frame of the fake engine.
struct Seen {
  uint32_t number, hash;
};
Seen look_at(GstBuffer* buffer, const GstVideoInfo& info);
Seen look_at(GstSample* sample);
uint32_t hash_of(const std::string& prompt);

// Waits until `condition` holds. Returns false after kPatience.
bool eventually(const std::function<bool()>& condition);

guint64 stat(GstElement* element, const char* field);
double stat_double(GstElement* element, const char* field);

// One flowcachesrc in a GstHarness with a test clock and a bus of its own.
class Source {
 public:
  // properties: as on a gst-launch line.
  explicit Source(const std::string& properties, const char* sink_caps = nullptr);
  ~Source();

  GstElement* element() const { return element_; }
  GstHarness* harness() const { return harness_; }
  GstTestClock* clock() const { return clock_; }
  // From now on uses another test clock, which shows this time.
  void use_clock(GstClockTime time);
  void play() { gst_element_set_state(element_, GST_STATE_PLAYING); }

  // Advances the clock as the element needs it until a buffer comes; null if none comes. wait_for_ring:
  // advances it only while frames are ready, so that the test itself causes no underrun.
  GstBuffer* pull(bool wait_for_ring = true);
  // Advances the clock to the next time that something waits for; false if nothing waits. only_with_frames:
  // also false if no frame is ready.
  bool tick(bool only_with_frames = false);
  // The PTS of the next `n` buffers.
  std::vector<GstClockTime> pull_times(int n);
  GstVideoInfo info() const;

  // Waits for the next message of these types; null after kPatience.
  GstMessage* message(GstMessageType types);
  // Waits for the next element message of this name with state=`state` (any state if null).
  GstMessage* element_message(const char* name, const char* state = nullptr);
  bool has_message(GstMessageType types);

 private:
  GstHarness* harness_;
  GstElement* element_;
  GstTestClock* clock_;
  GstBus* bus_;
};

// Runs a pipeline until EOS or an error; "" or the error's text (with its debug string after a newline).
std::string run_to_end(GstElement* pipeline, GstMessage** error_message = nullptr);
std::string run_to_end(const std::string& launch_line);

// The text of an ERROR or WARNING message.
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
