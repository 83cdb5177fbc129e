// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcachefilter: what comes in comes out at its time, whatever happens between.
#include "filter_test.h"

using namespace filter_test;

namespace {

TEST(Filter, EveryFrameComesOutWithTheTimeThatWentIn) {
  Filter filter("");
  const auto time = [](int i) {
    return static_cast<GstClockTime>(i) * kFrame + static_cast<GstClockTime>(i % 3) * 1000;
  };
  for (int i = 0; i < 10; ++i) {  // two chunks and a half
    GstBuffer* buffer = grey(static_cast<uint8_t>(100 + i), time(i));
    GST_BUFFER_DURATION(buffer) = kFrame + static_cast<GstClockTime>(i);
    GST_BUFFER_OFFSET(buffer) = static_cast<guint64>(500 + i);
    filter.push(buffer);
  }
  filter.end();
  for (int i = 0; i < 10; ++i) {
    const SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample) << i;
    GstBuffer* buffer = gst_sample_get_buffer(sample.get());
    EXPECT_EQ(pts_of(sample), time(i));
    EXPECT_EQ(GST_BUFFER_DURATION(buffer), kFrame + static_cast<GstClockTime>(i));
    EXPECT_EQ(GST_BUFFER_OFFSET(buffer), static_cast<guint64>(500 + i));
    EXPECT_EQ(look_at(sample.get()).number, static_cast<uint32_t>(i));
    EXPECT_EQ(fed_of(sample), 100 + i);
    GstCustomMeta* meta = gst_buffer_get_custom_meta(buffer, "FlowCacheMeta");
    ASSERT_NE(meta, nullptr);
    guint64 chunk = 99;
    gst_structure_get_uint64(gst_custom_meta_get_structure(meta), "chunk", &chunk);
    EXPECT_EQ(chunk, static_cast<guint64>(i / 4));
  }
  EXPECT_FALSE(filter.pull());
  EXPECT_TRUE(filter.has_ended());
  EXPECT_FALSE(filter.has_message(static_cast<GstMessageType>(GST_MESSAGE_ERROR | GST_MESSAGE_WARNING)));
}

TEST(Filter, AGapLetsAPartOfAChunkOutAndFollowsIt) {
  Filter filter("");
  filter.push_frames(0, 2);
  GstPad* pad = gst_element_get_static_pad(filter.input(), "src");
  ASSERT_TRUE(filter.all_taken());
  gst_pad_push_event(pad, gst_event_new_gap(2 * kFrame, kFrame));
  gst_object_unref(pad);
  for (int i = 0; i < 2; ++i) {
    const SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample) << "frame " << i << " waits for the rest of its chunk";
    EXPECT_EQ(fed_of(sample), i);
  }
  const int restarts = element_test::fake().restarts();
  filter.push_frames(4, 8);
  for (int i = 4; i < 8; ++i) {
    const SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample);
    EXPECT_EQ(fed_of(sample), i) << "what filled the chunk up must not be shown";
    EXPECT_EQ(pts_of(sample), static_cast<GstClockTime>(i) * kFrame);
  }
  EXPECT_EQ(element_test::fake().restarts(), restarts + 1) << "the encoder begins anew after a gap";
}

TEST(Filter, AFlushForgetsFramesAndStartsOver) {
  Filter filter("");
  filter.push_frames(0, 6);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(filter.pull());
  GstPad* pad = gst_element_get_static_pad(filter.element(), "sink");
  gst_pad_send_event(pad, gst_event_new_flush_start());
  gst_pad_send_event(pad, gst_event_new_flush_stop(TRUE));
  gst_object_unref(pad);
  GstPad* source = gst_element_get_static_pad(filter.input(), "src");
  GstSegment segment;
  gst_segment_init(&segment, GST_FORMAT_TIME);
  gst_pad_push_event(source, gst_event_new_segment(&segment));
  gst_object_unref(source);
  filter.push_frames(20, 24);
  for (int i = 20; i < 24; ++i) {
    const SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample);
    EXPECT_EQ(fed_of(sample), i);
    EXPECT_EQ(pts_of(sample), static_cast<GstClockTime>(i) * kFrame);
    EXPECT_EQ(look_at(sample.get()).number, static_cast<uint32_t>(i - 20)) << "chunk 0 again";
  }
}

// The engine is held, so nothing gets done: a live input goes on, whole chunks of it are left out, and nothing piles up.
TEST(Filter, ALiveInputThatIsTooFastLosesWholeChunksAndSaysSo) {
  const int restarts = element_test::fake().restarts();
  Hold hold(0);
  Filter filter("", kRgba, /*live=*/true);
  filter.push_frames(0, 1);  // starts the loading
  ASSERT_TRUE(filter.is_loaded());
  filter.push_frames(1, 60);
  ASSERT_TRUE(filter.message(GST_MESSAGE_WARNING));
  ASSERT_TRUE(
      eventually([&] { return gst_app_src_get_current_level_bytes(GST_APP_SRC(filter.input())) == 0; }));
  hold.release();
  filter.end();
  int count = 0, last = -1;
  while (const SamplePtr sample = filter.pull()) {
    const int number = fed_of(sample);
    EXPECT_GT(number, last);
    EXPECT_EQ(GST_BUFFER_IS_DISCONT(gst_sample_get_buffer(sample.get())), last == -1 || number > last + 1);
    EXPECT_EQ(pts_of(sample), static_cast<GstClockTime>(number) * kFrame) << "time stays right";
    last = number;
    ++count;
  }
  EXPECT_TRUE(filter.has_ended());
  EXPECT_GE(count, 8);
  EXPECT_LE(count, 16) << "two chunks may wait, and a part of one is collected";
  EXPECT_FALSE(filter.has_message(GST_MESSAGE_WARNING)) << "it is said once";
  if (last == 59) {
    EXPECT_EQ(element_test::fake().restarts(), restarts + 1) << "frames were left out before the last chunk";
  }
}

TEST(Filter, WithLateStallTheInputWaits) {
  Hold hold(0);
  Filter filter("late=stall", kRgba, /*live=*/true);
  filter.push_frames(0, 40);
  filter.end();
  EXPECT_FALSE(gst_app_sink_try_pull_sample(GST_APP_SINK(filter.output()), 50 * GST_MSECOND));
  hold.release();
  for (int i = 0; i < 40; ++i) {
    const SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample);
    EXPECT_EQ(fed_of(sample), i);
  }
}

TEST(Filter, LatencyIsAChunkAndItsComputing) {
  Filter filter("late=stall", kRgba, /*live=*/true);
  filter.push_frames(0, 4);
  ASSERT_TRUE(filter.pull());
  // Until the stream is rehearsed, computing is expected to take as long as the chunk plays. The fake engine takes no time.
  EXPECT_TRUE(filter.message(GST_MESSAGE_LATENCY));
  EXPECT_EQ(least_latency(filter.element()), 4 * kFrame);
  // It is expected to take half of 80 ms: a frame. Chunk 1 says that it took 100 ms: two.
  Filter measured("late=stall strength=0.5 model=fake:expect_ms=80,report_ms=100", kRgba, /*live=*/true);
  GstClockTime at_first = 0;
  for (int i = 0; i < 12; i += 4) {
    measured.push_frames(i, i + 4);
    for (int k = 0; k < 4; ++k) ASSERT_TRUE(measured.pull());
    if (i == 0) at_first = least_latency(measured.element());
  }
  EXPECT_EQ(at_first, 5 * kFrame);
  EXPECT_TRUE(measured.message(GST_MESSAGE_LATENCY));
  EXPECT_EQ(least_latency(measured.element()), 6 * kFrame);
}

// A latency that falls while frames are on their way makes them late, so what is expected is told before the first, and what
// comes close to it changes nothing.
TEST(Filter, LatencyIsToldBeforeTheFirstFrameAndThenStays) {
  Filter filter("late=stall strength=1 model=fake:expect_ms=125,report_ms=70", kRgba, /*live=*/true);
  filter.push_frames(0, 4);
  ASSERT_TRUE(filter.pull());
  EXPECT_EQ(least_latency(filter.element()), 6 * kFrame);
  while (filter.has_message(GST_MESSAGE_LATENCY)) {
  }
  for (int i = 4; i < 100; i += 4) {
    filter.push_frames(i, i + 4);
    for (int k = 0; k < 4; ++k) ASSERT_TRUE(filter.pull());
  }
  EXPECT_FALSE(filter.has_message(GST_MESSAGE_LATENCY));
  EXPECT_EQ(least_latency(filter.element()), 6 * kFrame);
}

// What the user says is held, nothing included.
TEST(Filter, LatencyAsGiven) {
  Filter filter("late=stall latency=0 model=fake:expect_ms=125", kRgba, /*live=*/true);
  filter.push_frames(0, 4);
  ASSERT_TRUE(filter.pull());
  EXPECT_EQ(least_latency(filter.element()), 4 * kFrame);
}

// A seek goes upstream, and what comes after its flush is from the new position.
TEST(Filter, SeeksGoUpstream) {
  GstElement* pipeline = gst_parse_launch(
      "flowcachesrc is-live=false ! flowcachefilter ! video/x-raw,format=RGBA ! appsink name=out sync=false "
      "max-buffers=2",
      nullptr);
  GstElement* out = gst_bin_get_by_name(GST_BIN(pipeline), "out");
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  for (int i = 0; i < 6; ++i)
    ASSERT_TRUE(SamplePtr(gst_app_sink_try_pull_sample(GST_APP_SINK(out), kPatience)));
  for (const guint64 frame : {80, 8, 81}) {
    ASSERT_TRUE(gst_element_seek_simple(
        pipeline, GST_FORMAT_TIME, static_cast<GstSeekFlags>(GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_ACCURATE),
        static_cast<gint64>(frame * kFrame)));
    for (guint64 i = 0; i < 6; ++i) {
      const SamplePtr sample(gst_app_sink_try_pull_sample(GST_APP_SINK(out), kPatience));
      ASSERT_TRUE(sample) << frame;
      EXPECT_EQ(pts_of(sample), (frame + i) * kFrame);
    }
  }
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(out);
  gst_object_unref(pipeline);
}

}  // namespace
