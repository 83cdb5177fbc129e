// SPDX-License-Identifier: LGPL-2.1-or-later
// Time: pauses after which there is another clock, pauses and sinks that delay frames, and the stream's own
// time.
#include "element_test.h"

using namespace element_test;

namespace {

// A whole second, so that it shows whether a pipeline leaves it out of its running time.
constexpr GstClockTime kPause = 10 * GST_SECOND;

void pause_here(Source& source) {
  ASSERT_TRUE(eventually([&] { return gst_test_clock_peek_id_count(source.clock()) > 0; }));
  gst_element_set_state(source.element(), GST_STATE_PAUSED);
  ASSERT_TRUE(eventually([&] { return gst_test_clock_peek_id_count(source.clock()) == 0; }));
}

// CLOCK_LOST, or gst_pipeline_use_clock(): the clock after the pause starts at another time.
TEST(Clock, AnotherOneAfterAPauseGoesOnWithTheGrid) {
  for (const GstClockTime seconds : {0, 5, 1000000}) {
    const GstClockTime epoch = seconds * GST_SECOND;
    Source source("max-chunks-ahead=8");
    gst_test_clock_set_time(source.clock(), 100 * GST_SECOND);
    gst_element_set_base_time(source.element(), 100 * GST_SECOND);
    source.play();
    for (const GstClockTime time : source.pull_times(5)) EXPECT_LT(time, 5 * kFrame);
    pause_here(source);
    source.use_clock(epoch);
    // Running time continues where it stopped, at 4 frames.
    gst_element_set_base_time(source.element(), epoch);
    gst_test_clock_advance_time(source.clock(), 4 * kFrame);
    gst_element_set_state(source.element(), GST_STATE_PLAYING);
    const auto times = source.pull_times(5);
    ASSERT_EQ(times.size(), 5u) << epoch;
    for (int i = 0; i < 5; ++i) EXPECT_EQ(times[i], (5 + i) * kFrame);
    EXPECT_EQ(gst_clock_get_time(GST_CLOCK(source.clock())), epoch + 9 * kFrame);
    EXPECT_EQ(stat(source.element(), "underruns"), 0u);
  }
}

// The model is loaded during a pause: the clock runs, but running time does not.
TEST(Clock, FirstFrameInAPauseGetsTheRunningTimeAfterIt) {
  Hold hold(0);
  Source source("");
  gst_test_clock_set_time(source.clock(), GST_SECOND);
  source.play();
  ASSERT_TRUE(eventually([] { return element_test::fake().live_streams() == 1; }));
  gst_element_set_state(source.element(), GST_STATE_PAUSED);
  gst_test_clock_advance_time(source.clock(), kPause);
  hold.release();
  ASSERT_TRUE(eventually([&] { return stat(source.element(), "ring-level") > 0; }));
  gst_element_set_base_time(source.element(), kPause);
  gst_element_set_state(source.element(), GST_STATE_PLAYING);
  const auto times = source.pull_times(3);
  ASSERT_EQ(times.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(times[i], GST_SECOND + i * kFrame);
}

// The intent of a chunk that is begun in a pause is the running time at which the pipeline stopped.
TEST(Clock, IntentInAPauseIsNotAfterItsFrame) {
  Hold hold(1);
  Source source("max-chunks-ahead=1");
  source.play();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  pause_here(source);
  gst_test_clock_advance_time(source.clock(), kPause);
  gst_element_set_base_time(source.element(), kPause);
  gst_element_set_state(source.element(), GST_STATE_PLAYING);
  hold.release();
  for (int i = 0; i < 12; ++i) {
    const BufferPtr buffer(source.pull());
    ASSERT_TRUE(buffer);
    const GstReferenceTimestampMeta* meta = gst_buffer_get_reference_timestamp_meta(buffer.get(), nullptr);
    ASSERT_NE(meta, nullptr);
    EXPECT_LE(meta->timestamp, GST_BUFFER_PTS(buffer.get()));
  }
}

int qos_messages(Source& source) {
  int count = 0;
  while (source.has_message(GST_MESSAGE_QOS)) ++count;
  return count;
}

// Returns the first frame after ten seconds in which no frame could leave. The base time does not change, as
// in pipelines that manage it themselves. A sink that blocks has the same effect.
BufferPtr frame_after_being_held_up(Source& source) {
  source.play();
  EXPECT_EQ(source.pull_times(5).size(), 5u);
  pause_here(source);
  gst_test_clock_advance_time(source.clock(), kPause);
  gst_element_set_state(source.element(), GST_STATE_PLAYING);
  return BufferPtr(source.pull());
}

TEST(CatchUp, SlotsInThePastAreLeftOut) {
  for (const char* policy : {"repeat", "skip"}) {
    Source source(std::string("max-chunks-ahead=8 underrun=") + policy);
    const BufferPtr buffer = frame_after_being_held_up(source);
    ASSERT_TRUE(buffer) << policy;
    // The pause began when frame 4 was shown.
    EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), kPause + 4 * kFrame) << policy;
    EXPECT_TRUE(GST_BUFFER_FLAG_IS_SET(buffer.get(), GST_BUFFER_FLAG_DISCONT));
    EXPECT_FALSE(GST_BUFFER_FLAG_IS_SET(buffer.get(), GST_BUFFER_FLAG_GAP));
    EXPECT_EQ(look_at(buffer.get(), source.info()).number, 5u);  // nothing of the video is lost
    EXPECT_EQ(stat(source.element(), "skipped"), kPause / kFrame - 1);
    EXPECT_EQ(stat(source.element(), "repeated"), 0u);
    EXPECT_EQ(qos_messages(source), 1);
    const auto times = source.pull_times(3);
    ASSERT_EQ(times.size(), 3u);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(times[i], kPause + (5 + i) * kFrame);
  }
}

TEST(CatchUp, StallMovesTheGrid) {
  Source source("max-chunks-ahead=8 underrun=stall");
  const BufferPtr buffer = frame_after_being_held_up(source);
  ASSERT_TRUE(buffer);
  EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), kPause + 4 * kFrame);
  EXPECT_FALSE(GST_BUFFER_FLAG_IS_SET(buffer.get(), GST_BUFFER_FLAG_DISCONT));
  EXPECT_EQ(stat(source.element(), "skipped"), 0u);
}

TEST(CatchUp, WithoutALimitEverySlotGetsItsFrame) {
  Source source("max-chunks-ahead=8 max-lateness=-1");
  const BufferPtr buffer = frame_after_being_held_up(source);
  ASSERT_TRUE(buffer);
  EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), 5 * kFrame);
  EXPECT_EQ(source.pull_times(3), (std::vector<GstClockTime>{6 * kFrame, 7 * kFrame, 8 * kFrame}));
  EXPECT_EQ(stat(source.element(), "skipped"), 0u);
}

// Frames may be late by the reported latency and the allowed lateness.
TEST(CatchUp, LimitIsTheReportedLatencyAndWhatIsAllowedOnTop) {
  const struct {
    GstClockTime late;
    guint64 skipped;
  } cases[] = {{kFrame + 300 * GST_MSECOND, 0}, {kFrame + 300 * GST_MSECOND + 1, 6}};
  for (const auto& one : cases) {
    Source source("max-chunks-ahead=8 latency=100000000 max-lateness=200000000");
    source.play();
    ASSERT_EQ(source.pull_times(5).size(), 5u);
    pause_here(source);
    gst_test_clock_set_time(source.clock(), 5 * kFrame + one.late);
    gst_element_set_state(source.element(), GST_STATE_PLAYING);
    ASSERT_TRUE(BufferPtr(source.pull()));
    EXPECT_EQ(stat(source.element(), "skipped"), one.skipped) << one.late;
  }
}

gint64 position(Source& source) {
  gint64 time = -1;
  EXPECT_TRUE(gst_element_query_position(source.element(), GST_FORMAT_TIME, &time));
  return time;
}
gint64 duration(Source& source) {
  gint64 time = -1;
  EXPECT_TRUE(gst_element_query_duration(source.element(), GST_FORMAT_TIME, &time));
  return time;
}

// The stream's own time begins with the first frame, however late that is; timestamps are running times.
TEST(StreamTime, BeginsWithTheFirstFrameAndEndsWithTheDuration) {
  Source source("num-buffers=8");
  gst_test_clock_set_time(source.clock(), 7 * GST_SECOND);
  source.play();
  for (int i = 0; i < 8; ++i) {
    const BufferPtr buffer(source.pull());
    ASSERT_TRUE(buffer);
    EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), 7 * GST_SECOND + i * kFrame);
    EXPECT_LE(position(source), duration(source));
  }
  ASSERT_TRUE(eventually([&] { return GST_PAD_IS_EOS(source.harness()->sinkpad); }));
  EXPECT_EQ(position(source), static_cast<gint64>(8 * kFrame));
  EXPECT_EQ(duration(source), static_cast<gint64>(8 * kFrame));
  GstPad* pad = source.harness()->sinkpad;
  GstEvent* event = gst_pad_get_sticky_event(pad, GST_EVENT_SEGMENT, 0);
  ASSERT_NE(event, nullptr);
  const GstSegment* segment = nullptr;
  gst_event_parse_segment(event, &segment);
  EXPECT_EQ(gst_segment_to_stream_time(segment, GST_FORMAT_TIME, 7 * GST_SECOND), 0u);
  EXPECT_EQ(gst_segment_to_running_time(segment, GST_FORMAT_TIME, 7 * GST_SECOND), 7 * GST_SECOND);
  gst_event_unref(event);
}

// Slots that are left out make the stream longer, and the element says so.
TEST(StreamTime, DurationGrowsByWhatIsLeftOut) {
  Source source("num-buffers=8 max-chunks-ahead=8");
  ASSERT_TRUE(frame_after_being_held_up(source));
  EXPECT_EQ(duration(source), static_cast<gint64>(kPause + 7 * kFrame));
  EXPECT_TRUE(source.has_message(GST_MESSAGE_DURATION_CHANGED));
  ASSERT_EQ(source.pull_times(2).size(), 2u);
  ASSERT_TRUE(eventually([&] { return GST_PAD_IS_EOS(source.harness()->sinkpad); }));
  EXPECT_EQ(position(source), duration(source));
}

}  // namespace
