// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcachefilter between OpenGL elements, with any OpenGL that this machine has; skipped if it has none. And downstream that
// changes its mind.
#include "filter_test.h"

using namespace filter_test;

namespace {

bool gl_works() {
  static const bool works = run_to_end("gltestsrc num-buffers=1 ! gldownload ! fakesink") == "";
  return works;
}

std::string path_of_memory(GstElement* element) {
  GstStructure* stats = nullptr;
  g_object_get(element, "stats", &stats, nullptr);
  const std::string path = gst_structure_get_string(stats, "memory-path");
  gst_structure_free(stats);
  return path;
}

struct Way {
  const char *before, *behind, *path;
};
void PrintTo(const Way& way, std::ostream* out) {
  *out << way.before << " … " << way.behind;
}
class FilterGl : public testing::TestWithParam<Way> {};

TEST_P(FilterGl, TexturesComeInAndGoOut) {
  if (!gl_works()) GTEST_SKIP() << "no OpenGL on this machine";
  Filter filter("", kRgba, false, GetParam().behind, GetParam().before);
  filter.push_frames(0, 10);
  filter.end();
  for (int i = 0; i < 10; ++i) {
    const SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample) << i;
    EXPECT_EQ(fed_of(sample), i);
    EXPECT_EQ(pts_of(sample), static_cast<GstClockTime>(i) * kFrame);
    EXPECT_EQ(look_at(sample.get()).number, static_cast<uint32_t>(i));
  }
  EXPECT_FALSE(filter.pull());
  EXPECT_EQ(path_of_memory(filter.element()), GetParam().path);
  EXPECT_FALSE(filter.has_message(static_cast<GstMessageType>(GST_MESSAGE_ERROR | GST_MESSAGE_WARNING)));
}

#define FROM_GL " ! video/x-raw(memory:GLMemory) ! gldownload ! video/x-raw,format=RGBA"
INSTANTIATE_TEST_SUITE_P(Ways, FilterGl,
                         testing::Values(Way{" ! glupload ! video/x-raw(memory:GLMemory)", "", "system"},
                                         Way{" ! glupload ! video/x-raw(memory:GLMemory)", FROM_GL,
                                             "gl-upload"},
                                         Way{"", FROM_GL, "gl-upload"}));

TEST(Filter, DrawnPicturesOfOpenGlAreTaken) {
  if (!gl_works()) GTEST_SKIP() << "no OpenGL on this machine";
  EXPECT_EQ(run_to_end(
                "gltestsrc num-buffers=18 ! video/x-raw(memory:GLMemory),width=64,height=48,framerate=16/1 ! "
                "flowcachefilter ! glcolorconvert ! gldownload ! fakesink sync=false"),
            "");
}

// Downstream asks for another memory in mid-stream.
TEST(Filter, RenegotiationKeepsEveryFrame) {
  if (!gl_works()) GTEST_SKIP() << "no OpenGL on this machine";
  Filter filter("", kRgba, false,
                " ! capsfilter name=c caps=video/x-raw ! gldownload ! video/x-raw,format=RGBA");
  GstElement* wish = gst_bin_get_by_name(GST_BIN(filter.pipeline()), "c");
  filter.push_frames(0, 4);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(fed_of(filter.pull()), i);
  EXPECT_EQ(path_of_memory(filter.element()), "system");
  GstCaps* caps = gst_caps_from_string("video/x-raw(memory:GLMemory)");
  g_object_set(wish, "caps", caps, nullptr);
  gst_caps_unref(caps);
  gst_object_unref(wish);
  filter.push_frames(4, 8);
  for (int i = 4; i < 8; ++i) EXPECT_EQ(fed_of(filter.pull()), i);
  EXPECT_EQ(path_of_memory(filter.element()), "gl-upload");
}

}  // namespace
