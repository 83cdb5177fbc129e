// SPDX-License-Identifier: LGPL-2.1-or-later
// Frames in OpenGL textures, with any OpenGL that this machine has; skipped if it has none.
#include <gst/app/gstappsink.h>

#include "element_test.h"

using namespace element_test;

namespace {

// True if GStreamer can make an OpenGL context here. Tried once; without a screen, unless the environment
// says otherwise.
bool have_gl() {
  static const bool works = run_to_end("gltestsrc num-buffers=1 ! gldownload ! fakesink") == "";
  return works;
}

struct Seen3 {
  std::vector<uint32_t> numbers;
  std::string memory_path;
};

Seen3 play(const std::string& middle) {
  GstElement* pipeline = gst_parse_launch(("flowcachesrc name=s model=fake is-live=false num-buffers=9 ! " +
                                           middle + " ! appsink name=k sync=false")
                                              .c_str(),
                                          nullptr);
  GstElement* source = gst_bin_get_by_name(GST_BIN(pipeline), "s");
  GstElement* sink = gst_bin_get_by_name(GST_BIN(pipeline), "k");
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  Seen3 seen;
  while (GstSample* sample = gst_app_sink_try_pull_sample(GST_APP_SINK(sink), kPatience)) {
    seen.numbers.push_back(look_at(sample).number);
    GstStructure* stats = nullptr;
    g_object_get(source, "stats", &stats, nullptr);
    seen.memory_path = gst_structure_get_string(stats, "memory-path");
    gst_structure_free(stats);
    gst_sample_unref(sample);
  }
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(sink);
  gst_object_unref(source);
  gst_object_unref(pipeline);
  return seen;
}

const std::vector<uint32_t> kNine = {0, 1, 2, 3, 4, 5, 6, 7, 8};

TEST(Gl, TexturesWhenDownstreamAsksForThem) {
  if (!have_gl()) GTEST_SKIP() << "no OpenGL on this machine";
  const Seen3 seen = play("video/x-raw(memory:GLMemory) ! gldownload ! video/x-raw,format=RGBA");
  EXPECT_EQ(seen.numbers, kNine);
  EXPECT_EQ(seen.memory_path, "gl-upload");
}

TEST(Gl, ThroughAnUploaderAndAShader) {
  if (!have_gl()) GTEST_SKIP() << "no OpenGL on this machine";
  const Seen3 seen = play("glupload ! glcolorconvert ! gldownload ! video/x-raw,format=RGBA");
  EXPECT_EQ(seen.numbers, kNine);
  EXPECT_EQ(seen.memory_path, "gl-upload");
}

TEST(Gl, SystemMemoryWhenAnythingGoes) {
  const Seen3 seen = play("identity");
  EXPECT_EQ(seen.numbers, kNine);
  EXPECT_EQ(seen.memory_path, "system");
}

TEST(Gl, SystemMemoryThroughConvertersThatPassAnything) {
  const Seen3 seen = play("videoconvert ! video/x-raw,format=RGBA");
  EXPECT_EQ(seen.numbers, kNine);
  EXPECT_EQ(seen.memory_path, "system");
}

TEST(Gl, TwentyRestarts) {
  if (!have_gl()) GTEST_SKIP() << "no OpenGL on this machine";
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(
        run_to_end("flowcachesrc model=fake is-live=false num-buffers=3 ! video/x-raw(memory:GLMemory) ! "
                   "gldownload ! fakesink"),
        "");
  }
}

}  // namespace
