// SPDX-License-Identifier: LGPL-2.1-or-later
// What downstream sees of a live stream while its model loads.
#include <atomic>

#include "element_test.h"

using namespace element_test;

namespace {

// Collects GAP events and checks that they follow each other without a hole, after a segment.
struct Gaps {
  int count = 0;
  bool segment = false;
  GstClockTime end = 0;

  void take_from(Source& source) {
    while (GstEvent* event = gst_harness_try_pull_event(source.harness())) {
      segment = segment || GST_EVENT_TYPE(event) == GST_EVENT_SEGMENT;
      if (GST_EVENT_TYPE(event) == GST_EVENT_GAP) add(event);
      gst_event_unref(event);
    }
  }
  void add(GstEvent* event) {
    GstClockTime begin = 0, length = 0;
    gst_event_parse_gap(event, &begin, &length);
    EXPECT_TRUE(segment);
    EXPECT_GT(length, 0u);
    EXPECT_TRUE(count++ == 0 || begin == end) << begin << " after " << end;
    end = begin + length;
  }
};

TEST(Loading, GapsSayThatNothingComesYet) {
  Hold hold(0);
  Source source("");
  source.play();
  Gaps gaps;
  ASSERT_TRUE(eventually([&] {
    gst_test_clock_advance_time(source.clock(), 10 * GST_MSECOND);
    gaps.take_from(source);
    return gaps.count >= 3;
  }));
  hold.release();
  const auto times = source.pull_times(3);
  ASSERT_EQ(times.size(), 3u);
  gaps.take_from(source);
  EXPECT_GE(times[0], gaps.end);  // no frame comes during a gap
  EXPECT_EQ(times[2] - times[0], 2 * kFrame);
  EXPECT_EQ(stat(source.element(), "underruns"), 0u);
}

bool is_black(GstBuffer* buffer, const GstVideoInfo& info) {
  GstVideoFrame frame;
  if (!gst_video_frame_map(&frame, &info, buffer, GST_MAP_READ)) return false;
  int wrong = 0;
  const bool rgb = GST_VIDEO_INFO_IS_RGB(&info);
  for (guint component = 0; component < 3; ++component) {
    const int black = rgb ? 0 : component == 0 ? 16 : 128;
    const auto* data = static_cast<const guint8*>(GST_VIDEO_FRAME_COMP_DATA(&frame, component));
    for (int y = 0; y < GST_VIDEO_FRAME_COMP_HEIGHT(&frame, component); ++y) {
      for (int x = 0; x < GST_VIDEO_FRAME_COMP_WIDTH(&frame, component); ++x) {
        wrong += data[y * GST_VIDEO_FRAME_COMP_STRIDE(&frame, component) +
                      x * GST_VIDEO_FRAME_COMP_PSTRIDE(&frame, component)] != black;
      }
    }
  }
  gst_video_frame_unmap(&frame);
  return wrong == 0;
}

TEST(Loading, PlaceholdersAreBlackFramesOnTheGrid) {
  for (const char* format : {"NV12", "I420", "RGBA"}) {
    Hold hold(0);
    Source source("placeholder=true latency=0", (std::string("video/x-raw,format=") + format).c_str());
    source.play();
    for (int i = 0; i < 5; ++i) {
      const BufferPtr buffer(source.pull(false));
      ASSERT_TRUE(buffer) << format;
      EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), i * kFrame);
      EXPECT_TRUE(GST_BUFFER_FLAG_IS_SET(buffer.get(), GST_BUFFER_FLAG_GAP));
      EXPECT_TRUE(is_black(buffer.get(), source.info())) << format;
    }
    hold.release();
    ASSERT_TRUE(eventually([&] { return stat(source.element(), "ring-level") > 4; }));
    GstClockTime before = 4 * kFrame;
    uint32_t number = 0;
    for (int i = 0; i < 6; ++i) {
      const BufferPtr buffer(source.pull());
      ASSERT_TRUE(buffer);
      EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), before + kFrame);
      before = GST_BUFFER_PTS(buffer.get());
      if (GST_BUFFER_FLAG_IS_SET(buffer.get(), GST_BUFFER_FLAG_GAP)) continue;  // one more may have been due
      EXPECT_EQ(look_at(buffer.get(), source.info()).number, number++);
    }
    EXPECT_GE(number, 5u);
    EXPECT_EQ(stat(source.element(), "underruns"), 0u);
    int keyframes = 0;
    while (GstEvent* event = gst_harness_try_pull_event(source.harness())) {
      keyframes += gst_video_event_is_force_key_unit(event);
      gst_event_unref(event);
    }
    EXPECT_EQ(keyframes, 1);  // the first real picture is a cut
  }
}

// Sound beside the video is muxed while the model loads. More of it reaches the file than the queue could
// hold.
TEST(Loading, PlaceholdersLetSoundThrough) {
  Hold hold(0);
  GstElement* pipeline = gst_parse_launch(
      "flowcachesrc model=fake:width=320,height=192 placeholder=true ! x264enc tune=zerolatency "
      "speed-preset=ultrafast ! queue ! matroskamux name=m streamable=true ! fakesink name=k sync=false "
      "audiotestsrc is-live=true samplesperbuffer=4410 ! queue max-size-buffers=2 name=q ! m.",
      nullptr);
  GstElement* queue = gst_bin_get_by_name(GST_BIN(pipeline), "q");
  GstPad* pad = gst_element_get_static_pad(queue, "src");
  std::atomic<int> buffers{0};
  gst_pad_add_probe(
      pad, GST_PAD_PROBE_TYPE_BUFFER,
      [](GstPad*, GstPadProbeInfo*, gpointer user) {
        ++*static_cast<std::atomic<int>*>(user);
        return GST_PAD_PROBE_OK;
      },
      &buffers, nullptr);
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  EXPECT_TRUE(eventually([&] { return buffers > 10; }));
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(pad);
  gst_object_unref(queue);
  gst_object_unref(pipeline);
}

}  // namespace
