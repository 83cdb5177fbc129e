// SPDX-License-Identifier: LGPL-2.1-or-later
// Downstream asks for a whole multiple of the model's frame rate: each frame is pushed that many times.
#include <gst/app/gstappsink.h>

#include "../../gst-plugin/timing.h"
#include "element_test.h"

using namespace element_test;
using flowcache::gst::Timeline;

namespace {

constexpr const char* kTwice = "video/x-raw,framerate=32/1";

TEST(Rate, EachFrameGoesOutAsOftenAsTheMultipleSays) {
  for (const guint times : {1u, 2u, 3u, 7u}) {
    std::string caps = "video/x-raw,framerate=";
    caps += std::to_string(16 * times) + "/1";
    Source source("max-chunks-ahead=8", caps.c_str());
    source.play();
    for (guint i = 0; i < 6 * times; ++i) {
      const BufferPtr buffer(source.pull());
      ASSERT_TRUE(buffer);
      EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), gst_util_uint64_scale(i, GST_SECOND, 16 * times));
      EXPECT_EQ(GST_BUFFER_PTS(buffer.get()) + GST_BUFFER_DURATION(buffer.get()),
                gst_util_uint64_scale(i + 1, GST_SECOND, 16 * times));
      EXPECT_EQ(GST_BUFFER_OFFSET(buffer.get()), i);
      EXPECT_FALSE(GST_BUFFER_FLAG_IS_SET(buffer.get(), GST_BUFFER_FLAG_GAP));
      EXPECT_EQ(GST_BUFFER_FLAG_IS_SET(buffer.get(), GST_BUFFER_FLAG_DISCONT), i == 0);
      EXPECT_EQ(look_at(buffer.get(), source.info()).number, i / times);
    }
    EXPECT_EQ(stat(source.element(), "repeated"), 0u);
    EXPECT_EQ(stat(source.element(), "underruns"), 0u);
  }
}

TEST(Rate, ARangeGetsTheMultipleNearestToTheModelsOwn) {
  for (const auto& [wanted, n] : {std::pair{"framerate=[1/1,120/1]", 16},
                                  {"framerate=[30/1,60/1]", 32},
                                  {"framerate={60/1,48/1,64/1}", 48}}) {
    Source source("", (std::string("video/x-raw,") + wanted).c_str());
    source.play();
    ASSERT_TRUE(BufferPtr(source.pull()));
    const GstVideoInfo info = source.info();
    EXPECT_EQ(GST_VIDEO_INFO_FPS_N(&info), n) << wanted;
  }
}

TEST(Rate, OddRatesHaveMultiplesToo) {
  Source source("model=fake:fps_n=30000,fps_d=1001 max-chunks-ahead=8", "video/x-raw,framerate=60000/1001");
  source.play();
  const auto times = source.pull_times(61);
  ASSERT_EQ(times.size(), 61u);
  for (size_t i = 0; i < times.size(); ++i)
    EXPECT_EQ(times[i], gst_util_uint64_scale(i, GST_SECOND * 1001, 60000));
}

TEST(Rate, AnUnderrunRepeatsWholeFrames) {
  Hold hold(1);
  Source source("underrun=repeat latency=0", kTwice);
  source.play();
  for (guint i = 0; i < 16; ++i) {
    const BufferPtr buffer(source.pull(false));
    ASSERT_TRUE(buffer);
    EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), i * kFrame / 2);
    EXPECT_EQ(look_at(buffer.get(), source.info()).number, std::min(i / 2, 3u));
    EXPECT_EQ(GST_BUFFER_FLAG_IS_SET(buffer.get(), GST_BUFFER_FLAG_GAP), i >= 8);
  }
  EXPECT_EQ(stat(source.element(), "repeated"), 4u);  // frames, not buffers
}

TEST(Rate, AfterAPauseOfTheSinkTheNextFrameBeginsOnTheGrid) {
  Source source("max-chunks-ahead=8 max-lateness=0 latency=0", kTwice);
  source.play();
  ASSERT_EQ(source.pull_times(3).size(), 3u);  // frame 0 twice, frame 1 once
  gst_test_clock_set_time(source.clock(), 10 * kFrame + 1);
  std::vector<uint32_t> numbers;
  std::vector<GstClockTime> times;
  for (int i = 0; i < 3; ++i) {
    const BufferPtr buffer(source.pull());
    ASSERT_TRUE(buffer);
    numbers.push_back(look_at(buffer.get(), source.info()).number);
    times.push_back(GST_BUFFER_PTS(buffer.get()));
  }
  // The part that already waited in create() may still be pushed. Then comes a frame's first part, on the
  // grid.
  const size_t first = times[0] < 10 * kFrame ? 1 : 0;
  EXPECT_EQ(times[first], 11 * kFrame);
  EXPECT_EQ(times[first + 1], 11 * kFrame + kFrame / 2);
  EXPECT_EQ(numbers[first], numbers[first + 1]);
}

// Reads "NUMBER@PTS" from streams that are not live.
class Reader {
 public:
  explicit Reader(const std::string& properties, const std::string& caps) {
    pipeline_ = gst_parse_launch(("flowcachesrc is-live=false " + properties + " ! " + caps +
                                  " ! appsink name=k sync=false max-buffers=1")
                                     .c_str(),
                                 nullptr);
    sink_ = gst_bin_get_by_name(GST_BIN(pipeline_), "k");
    gst_element_set_state(pipeline_, GST_STATE_PLAYING);
    gst_element_get_state(pipeline_, nullptr, nullptr, kPatience);
  }
  ~Reader() {
    gst_element_set_state(pipeline_, GST_STATE_NULL);
    gst_object_unref(sink_);
    gst_object_unref(pipeline_);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  bool seek(GstClockTime start, GstClockTime stop) {
    return gst_element_seek(pipeline_, 1.0, GST_FORMAT_TIME,
                            static_cast<GstSeekFlags>(GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_ACCURATE),
                            GST_SEEK_TYPE_SET, static_cast<gint64>(start), GST_SEEK_TYPE_SET,
                            static_cast<gint64>(stop)) != FALSE;
  }
  gint64 duration(GstFormat format) const {
    gint64 value = -1;
    gst_element_query_duration(pipeline_, format, &value);
    return value;
  }
  // The numbers of the frames until the end, such as "0 0 1 1 ". Checks that each has its time.
  std::string rest(guint times) {
    std::string all;
    while (GstSample* sample = gst_app_sink_try_pull_sample(GST_APP_SINK(sink_), kPatience)) {
      const uint32_t number = look_at(sample).number;
      const GstClockTime pts = GST_BUFFER_PTS(gst_sample_get_buffer(sample));
      EXPECT_GE(pts, number * kFrame);
      EXPECT_LT(pts, (number + 1) * kFrame);
      EXPECT_EQ(pts % (kFrame / times), 0u);
      all += std::to_string(number) + " ";
      gst_sample_unref(sample);
    }
    return all;
  }

 private:
  GstElement *pipeline_, *sink_;
};

TEST(Rate, NumBuffersAndDurationCountBuffers) {
  Reader reader("num-buffers=7", kTwice);
  EXPECT_EQ(reader.duration(GST_FORMAT_TIME), static_cast<gint64>(7 * kFrame / 2));
  EXPECT_EQ(reader.duration(GST_FORMAT_DEFAULT), 7);
  EXPECT_EQ(reader.rest(2), "0 0 1 1 2 2 3 ");
}

TEST(Rate, SeeksLandOnWholeFrames) {
  Reader reader("", "video/x-raw,framerate=64/1");
  ASSERT_TRUE(reader.seek(9 * kFrame, 11 * kFrame));
  EXPECT_EQ(reader.rest(4), "9 9 9 9 10 10 10 10 ");
  ASSERT_TRUE(reader.seek(2 * kFrame, 3 * kFrame));
  EXPECT_EQ(reader.rest(4), "2 2 2 2 ");
}

TEST(Rate, PartsFillTheirSlotExactly) {
  Timeline timeline;
  timeline.reset(30000, 1001);
  timeline.set_parts(4);
  timeline.anchor(7);
  GstClockTime end = timeline.pts();
  for (int i = 0; i < 4 * 30000; ++i) {
    ASSERT_EQ(timeline.pts(), end);
    ASSERT_EQ(timeline.part(), static_cast<guint>(i % 4));
    end = timeline.pts() + timeline.duration();
    timeline.advance();
  }
  EXPECT_EQ(timeline.pts(), 7 + 1001 * GST_SECOND);
  EXPECT_EQ(timeline.number(), 4u * 30000);
}

TEST(Rate, WhateverMovesTheGridBeginsANewSlot) {
  Timeline fresh;
  fresh.reset(16, 1);
  fresh.set_parts(2);
  fresh.anchor(0);
  fresh.advance();  // slot 0, part 1
  Timeline skipped = fresh, shifted = fresh, other = fresh, flushed = fresh;
  EXPECT_EQ(skipped.skip_to(3 * kFrame), 2u);  // slots 1 and 2; the rest of slot 0 does not count
  EXPECT_EQ(skipped.pts(), 3 * kFrame);
  EXPECT_EQ(fresh.skip_to(kFrame / 2 + 1), 0u);
  EXPECT_EQ(fresh.pts(), kFrame);
  shifted.shift_to(kFrame + 5);
  EXPECT_EQ(shifted.pts(), kFrame + 5);
  EXPECT_EQ(shifted.part(), 0u);
  other.set_parts(3);
  EXPECT_EQ(other.pts(), kFrame);
  other.advance();
  EXPECT_EQ(other.pts(), kFrame + kFrame / 3);
  flushed.unanchor();
  flushed.anchor(77);
  EXPECT_EQ(flushed.pts(), 77u);
  EXPECT_EQ(flushed.part(), 0u);
}

}  // namespace
