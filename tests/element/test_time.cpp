// SPDX-License-Identifier: LGPL-2.1-or-later
// Timestamps, latency, underruns and pauses, on a test clock, so that nothing depends on the speed of the
// machine.
#include "element_test.h"

using namespace element_test;

namespace {

std::vector<GstClockTime> grid(int n, GstClockTime origin = 0) {
  std::vector<GstClockTime> times;
  for (int i = 0; i < n; ++i) times.push_back(origin + i * kFrame);
  return times;
}

TEST(Time, TimestampsAreExactlyOnTheGrid) {
  Source source("max-chunks-ahead=8");
  source.play();
  for (int i = 0; i < 20; ++i) {
    const BufferPtr buffer(source.pull());
    ASSERT_TRUE(buffer);
    EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), i * kFrame);
    EXPECT_EQ(GST_BUFFER_DURATION(buffer.get()), kFrame);
    EXPECT_EQ(GST_BUFFER_DTS(buffer.get()), GST_CLOCK_TIME_NONE);
    EXPECT_EQ(GST_BUFFER_OFFSET(buffer.get()), static_cast<guint64>(i));
    EXPECT_EQ(GST_BUFFER_FLAG_IS_SET(buffer.get(), GST_BUFFER_FLAG_DISCONT), i == 0);
    EXPECT_EQ(look_at(buffer.get(), source.info()).number, static_cast<uint32_t>(i));
  }
}

TEST(Time, OddRatesDoNotDrift) {
  Source source("model=fake:fps_n=30000,fps_d=1001 max-chunks-ahead=8");
  source.play();
  const auto times = source.pull_times(61);
  ASSERT_EQ(times.size(), 61u);
  for (size_t i = 0; i < times.size(); ++i) {
    EXPECT_EQ(times[i], gst_util_uint64_scale(i, GST_SECOND * 1001, 30000));
  }
}

TEST(Time, GridBeginsAtTheRunningTimeOfTheFirstFrame) {
  Source source("max-chunks-ahead=8");
  gst_test_clock_set_time(source.clock(), 5 * GST_SECOND);
  source.play();
  EXPECT_EQ(source.pull_times(4), grid(4, 5 * GST_SECOND));
}

// It has no effect while playing either, and the property stays off.
TEST(Time, DoTimestampChangesNothing) {
  Source source("do-timestamp=true max-chunks-ahead=8");
  source.play();
  for (int i = 0; i < 4; ++i) {
    g_object_set(source.element(), "do-timestamp", TRUE, nullptr);
    const BufferPtr buffer(source.pull());
    ASSERT_TRUE(buffer);
    EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), i * kFrame);
    EXPECT_EQ(GST_BUFFER_DTS(buffer.get()), GST_CLOCK_TIME_NONE);
  }
  gboolean on = TRUE;
  g_object_get(source.element(), "do-timestamp", &on, nullptr);
  EXPECT_FALSE(on);
}

// The offset moves timestamps. Frames leave at the same time as without it.
TEST(Time, TimestampOffsetMovesTimestampsOnly) {
  Source source("max-chunks-ahead=8 timestamp-offset=1000000000");
  source.play();
  for (int i = 0; i < 6; ++i) {
    const BufferPtr buffer(source.pull());
    ASSERT_TRUE(buffer);
    EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), GST_SECOND + i * kFrame);
    EXPECT_EQ(GST_BUFFER_DURATION(buffer.get()), kFrame);
    EXPECT_LE(gst_clock_get_time(GST_CLOCK(source.clock())), i * kFrame);
  }
  EXPECT_EQ(stat(source.element(), "underruns"), 0u);
  const MessagePtr applied(source.element_message("flowcache-prompt", "applied"));
  ASSERT_TRUE(applied);
  guint64 pts = 0;
  gst_structure_get_uint64(gst_message_get_structure(applied.get()), "pts", &pts);
  EXPECT_EQ(pts, GST_SECOND);
}

// No timestamp occurs twice: the first frame waits until its timestamp is 0.
TEST(Time, NegativeTimestampOffsetBeginsAtZero) {
  Source source("max-chunks-ahead=8 timestamp-offset=-125000000");
  source.play();
  EXPECT_EQ(source.pull_times(5), grid(5));
  EXPECT_EQ(gst_clock_get_time(GST_CLOCK(source.clock())), 125 * GST_MSECOND + 4 * kFrame);
  EXPECT_EQ(stat(source.element(), "underruns"), 0u);
  Source free("is-live=false timestamp-offset=-125000000");
  free.play();
  EXPECT_EQ(free.pull_times(5), grid(5));
}

TEST(Time, NotLiveRunsFreeFromZero) {
  Source source("is-live=false");
  source.play();
  for (int i = 0; i < 10; ++i) {
    const BufferPtr buffer(gst_harness_pull(source.harness()));  // no time passes on the test clock
    ASSERT_TRUE(buffer);
    EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), i * kFrame);
  }
}

// A pipeline moves the base time by the length of a pause. So running time has no gap, and neither has the
// grid.
TEST(Time, PauseLeavesNoGapAndKeepsTheGrid) {
  Source source("max-chunks-ahead=8");
  source.play();
  EXPECT_EQ(source.pull_times(5), grid(5));
  // The source waits for frame 5's time when the pause comes.
  ASSERT_TRUE(eventually([&] { return gst_test_clock_peek_id_count(source.clock()) > 0; }));
  gst_element_set_state(source.element(), GST_STATE_PAUSED);
  ASSERT_TRUE(eventually([&] { return gst_test_clock_peek_id_count(source.clock()) == 0; }));
  const GstClockTime pause = 600 * GST_MSECOND + 1;
  gst_test_clock_advance_time(source.clock(), pause);
  gst_element_set_base_time(source.element(), pause);
  gst_element_set_state(source.element(), GST_STATE_PLAYING);
  // Frame 5 is not due yet. It must not be pushed early because the pause has ended a wait.
  ASSERT_TRUE(eventually([&] { return gst_test_clock_peek_id_count(source.clock()) > 0; }));
  EXPECT_EQ(gst_harness_buffers_in_queue(source.harness()), 0u);
  const auto times = source.pull_times(5);
  ASSERT_EQ(times.size(), 5u);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(times[i], (5 + i) * kFrame);
  EXPECT_EQ(stat(source.element(), "underruns"), 0u);
}

void latency_of(Source& source, gboolean* live, GstClockTime* least, GstClockTime* most) {
  GstQuery* query = gst_query_new_latency();
  GstPad* pad = gst_element_get_static_pad(source.element(), "src");
  ASSERT_TRUE(gst_pad_query(pad, query));
  gst_query_parse_latency(query, live, least, most);
  gst_object_unref(pad);
  gst_query_unref(query);
}

TEST(Latency, OneFrameIfChunksAreFast) {
  Source source("");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  gboolean live = FALSE;
  GstClockTime least = 0, most = 0;
  latency_of(source, &live, &least, &most);
  EXPECT_TRUE(live);
  EXPECT_EQ(least, kFrame);
  EXPECT_EQ(most, GST_CLOCK_TIME_NONE);
}

TEST(Latency, MeasuredChunkTimeIsReportedAndAnnounced) {
  // A chunk of four frames plays for 250 ms and reports that it took 300 ms: 50 ms late is one frame.
  Source source("model=fake:report_ms=300 max-chunks-ahead=8");
  source.play();
  const MessagePtr message(source.message(GST_MESSAGE_LATENCY));
  ASSERT_TRUE(message);
  gboolean live = FALSE;
  GstClockTime least = 0, most = 0;
  latency_of(source, &live, &least, &most);
  EXPECT_EQ(least, 2 * kFrame);
  EXPECT_GE(most, least);
  ASSERT_TRUE(eventually([&] { return stat(source.element(), "chunks") >= 6; }));
  EXPECT_FALSE(source.has_message(GST_MESSAGE_LATENCY));  // the same value again is not reported
}

TEST(Latency, PropertyIsTheBudgetAndCannotOverflow) {
  Source source("latency=100000000");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  gboolean live = FALSE;
  GstClockTime least = 0, most = 0;
  latency_of(source, &live, &least, &most);
  EXPECT_EQ(least, kFrame + 100 * GST_MSECOND);
  g_object_set(source.element(), "latency", GST_CLOCK_TIME_NONE - 1, nullptr);
  EXPECT_TRUE(source.has_message(GST_MESSAGE_LATENCY));
  latency_of(source, &live, &least, &most);
  EXPECT_GE(most, least);
  EXPECT_GT(least, kFrame);
}

// Chunk 1 (frames 4 to 7) does not come. Four frames are shown, then the policy decides.
TEST(Underrun, RepeatKeepsTheRate) {
  Hold hold(1);
  Source source("underrun=repeat latency=0");
  source.play();
  EXPECT_EQ(source.pull_times(4), grid(4));
  for (int i = 4; i < 7; ++i) {
    const BufferPtr buffer(source.pull(false));
    ASSERT_TRUE(buffer);
    EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), i * kFrame);
    EXPECT_EQ(look_at(buffer.get(), source.info()).number, 3u);
    EXPECT_TRUE(GST_BUFFER_FLAG_IS_SET(buffer.get(), GST_BUFFER_FLAG_GAP));
  }
  const MessagePtr qos(source.message(GST_MESSAGE_QOS));
  ASSERT_TRUE(qos);
  gboolean live = FALSE;
  guint64 running_time = 0;
  gst_message_parse_qos(qos.get(), &live, &running_time, nullptr, nullptr, nullptr);
  EXPECT_TRUE(live);
  EXPECT_EQ(running_time, 4 * kFrame);
  EXPECT_GE(stat(source.element(), "repeated"), 3u);
  EXPECT_FALSE(source.has_message(GST_MESSAGE_QOS)) << "one for all that follow each other";
  hold.release();
  // The content continues where it stopped, on the same grid.
  GstClockTime before = 6 * kFrame;
  while (true) {
    const BufferPtr buffer(source.pull(false));
    ASSERT_TRUE(buffer);
    EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), before + kFrame);
    before = GST_BUFFER_PTS(buffer.get());
    const uint32_t number = look_at(buffer.get(), source.info()).number;
    if (number == 3) continue;
    EXPECT_EQ(number, 4u);
    break;
  }
}

// Plays until the underrun, waits for 2.5 frames, and returns the first frame after it.
BufferPtr frame_after_underrun(Source& source, Hold& hold) {
  source.play();
  EXPECT_EQ(source.pull_times(4), grid(4));
  EXPECT_TRUE(eventually([&] { return source.tick(); }));  // slot 4 begins without a frame
  gst_test_clock_set_time(source.clock(), 6 * kFrame + kFrame / 2);
  hold.release();
  return BufferPtr(source.pull());
}

TEST(Underrun, SkipLeavesSlotsEmpty) {
  Hold hold(1);
  Source source("underrun=skip latency=0");
  const BufferPtr buffer = frame_after_underrun(source, hold);
  ASSERT_TRUE(buffer);
  EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), 7 * kFrame);
  EXPECT_TRUE(GST_BUFFER_FLAG_IS_SET(buffer.get(), GST_BUFFER_FLAG_DISCONT));
  EXPECT_EQ(look_at(buffer.get(), source.info()).number, 4u);
  EXPECT_EQ(stat(source.element(), "skipped"), 3u);
  EXPECT_EQ(stat(source.element(), "underruns"), 1u);
  EXPECT_TRUE(source.has_message(GST_MESSAGE_QOS));
}

TEST(Underrun, StallMovesTheGrid) {
  Hold hold(1);
  Source source("underrun=stall latency=0");
  const BufferPtr buffer = frame_after_underrun(source, hold);
  ASSERT_TRUE(buffer);
  EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), 6 * kFrame + kFrame / 2);
  EXPECT_FALSE(GST_BUFFER_FLAG_IS_SET(buffer.get(), GST_BUFFER_FLAG_DISCONT));
  EXPECT_EQ(look_at(buffer.get(), source.info()).number, 4u);
  EXPECT_EQ(stat(source.element(), "underruns"), 1u);
  const BufferPtr next(source.pull());
  EXPECT_EQ(GST_BUFFER_PTS(next.get()), 7 * kFrame + kFrame / 2);
}

// A frame that is late by less than the jitter budget is not an underrun.
TEST(Underrun, LatencyBudgetIsWaitedFor) {
  Hold hold(1);
  Source source("underrun=skip latency=1000000000");
  source.play();
  EXPECT_EQ(source.pull_times(4), grid(4));
  gst_test_clock_set_time(source.clock(), 4 * kFrame + GST_SECOND - 1);
  hold.release();
  const BufferPtr buffer(gst_harness_pull(source.harness()));  // it is late, so it does not wait
  ASSERT_TRUE(buffer);
  EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), 4 * kFrame);
  EXPECT_EQ(stat(source.element(), "underruns"), 0u);
}

TEST(Flush, EmptiesTheRingStartsOverAndFindsANewGrid) {
  Source source("max-chunks-ahead=8");
  source.play();
  EXPECT_EQ(source.pull_times(6), grid(6));
  gst_element_send_event(source.element(), gst_event_new_flush_start());
  gst_test_clock_set_time(source.clock(), 10 * GST_SECOND);
  gst_element_send_event(source.element(), gst_event_new_flush_stop(FALSE));
  while (BufferPtr left{gst_harness_try_pull(source.harness())}) {
  }
  const BufferPtr buffer(source.pull());
  ASSERT_TRUE(buffer);
  EXPECT_GE(GST_BUFFER_PTS(buffer.get()), 10 * GST_SECOND);
  EXPECT_TRUE(GST_BUFFER_FLAG_IS_SET(buffer.get(), GST_BUFFER_FLAG_DISCONT));
  EXPECT_EQ(look_at(buffer.get(), source.info()).number, 0u);
}

TEST(Queries, DurationOnlyWithNumBuffers) {
  Source endless("");
  endless.play();
  ASSERT_TRUE(BufferPtr(endless.pull()));
  gint64 duration = 0;
  EXPECT_FALSE(gst_element_query_duration(endless.element(), GST_FORMAT_TIME, &duration));
  Source finite("num-buffers=32");
  finite.play();
  ASSERT_TRUE(BufferPtr(finite.pull()));
  EXPECT_TRUE(gst_element_query_duration(finite.element(), GST_FORMAT_TIME, &duration));
  EXPECT_EQ(duration, 2 * GST_SECOND);
  EXPECT_TRUE(gst_element_query_duration(finite.element(), GST_FORMAT_DEFAULT, &duration));
  EXPECT_EQ(duration, 32);
}

TEST(Queries, ConvertFramesToTime) {
  Source source("");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  gint64 time = 0;
  EXPECT_TRUE(gst_element_query_convert(source.element(), GST_FORMAT_DEFAULT, 8, GST_FORMAT_TIME, &time));
  EXPECT_EQ(time, GST_SECOND / 2);
}

}  // namespace
