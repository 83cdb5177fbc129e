// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcachefilter on the fake engine, which shows in the lower third of a frame what it was fed.
#include <gst/app/gstappsink.h>
#include <gst/app/gstappsrc.h>
#include <gst/controller/gstdirectcontrolbinding.h>
#include <gst/controller/gstinterpolationcontrolsource.h>

#include <cmath>
#include <thread>

#include "element_test.h"

using namespace element_test;

namespace {

constexpr const char* kRgba =
    "video/x-raw,format=RGBA,width=64,height=48,framerate=16/1,colorimetry=sRGB,interlace-mode=progressive,"
    "pixel-aspect-ratio=1/1";

struct SampleDeleter {
  void operator()(GstSample* sample) const { gst_sample_unref(sample); }
};
using SamplePtr = std::unique_ptr<GstSample, SampleDeleter>;

// A frame of RGBA whose bytes all have this value.
GstBuffer* grey(uint8_t level, GstClockTime pts, int width = 64, int height = 48) {
  const auto size = static_cast<gsize>(4 * width * height);
  GstBuffer* buffer = gst_buffer_new_allocate(nullptr, size, nullptr);
  gst_buffer_memset(buffer, 0, level, size);
  GST_BUFFER_PTS(buffer) = pts;
  GST_BUFFER_DURATION(buffer) = kFrame;
  return buffer;
}

// appsrc ! flowcachefilter ! appsink
class Filter {
 public:
  explicit Filter(const std::string& properties, const char* caps = kRgba, bool live = false,
                  const std::string& behind = "") {
    const std::string line = std::string("appsrc name=in format=time max-bytes=0 is-live=") +
                             (live ? "true" : "false") + " ! flowcachefilter name=f " + properties + behind +
                             " ! appsink name=out sync=false";
    pipeline_ = gst_parse_launch(line.c_str(), nullptr);
    in_ = gst_bin_get_by_name(GST_BIN(pipeline_), "in");
    out_ = gst_bin_get_by_name(GST_BIN(pipeline_), "out");
    element_ = gst_bin_get_by_name(GST_BIN(pipeline_), "f");
    bus_ = gst_element_get_bus(pipeline_);
    use_caps(caps);
    gst_element_set_state(pipeline_, GST_STATE_PLAYING);
  }
  ~Filter() {
    stop();
    for (GstElement* one : {in_, out_, element_, pipeline_}) gst_object_unref(one);
    gst_object_unref(bus_);
  }
  void stop() { gst_element_set_state(pipeline_, GST_STATE_NULL); }

  void use_caps(const char* text) {
    GstCaps* caps = gst_caps_from_string(text);
    gst_app_src_set_caps(GST_APP_SRC(in_), caps);
    gst_caps_unref(caps);
  }
  void push(GstBuffer* buffer) { gst_app_src_push_buffer(GST_APP_SRC(in_), buffer); }
  // Frames first … last - 1, each at its own place of the grid and as grey as its number.
  void push_frames(int first, int last) {
    for (int i = first; i < last; ++i)
      push(grey(static_cast<uint8_t>(i), static_cast<GstClockTime>(i) * kFrame));
  }
  void end() { gst_app_src_end_of_stream(GST_APP_SRC(in_)); }
  // Null at EOS or after kPatience.
  SamplePtr pull() { return SamplePtr(gst_app_sink_try_pull_sample(GST_APP_SINK(out_), kPatience)); }
  bool has_ended() const { return gst_app_sink_is_eos(GST_APP_SINK(out_)) != FALSE; }
  // The next message of these types that `wanted` accepts; null after kPatience.
  MessagePtr message(GstMessageType types, const std::function<bool(GstMessage*)>& wanted = nullptr) {
    while (GstMessage* one = gst_bus_timed_pop_filtered(bus_, kPatience, types)) {
      if (!wanted || wanted(one)) return MessagePtr(one);
      gst_message_unref(one);
    }
    return nullptr;
  }
  MessagePtr element_message(const char* name) {
    return message(GST_MESSAGE_ELEMENT,
                   [&](GstMessage* one) { return gst_message_has_name(one, name) != FALSE; });
  }
  bool has_message(GstMessageType types) {
    GstMessage* one = gst_bus_pop_filtered(bus_, types);
    if (one != nullptr) gst_message_unref(one);
    return one != nullptr;
  }
  GstElement* element() const { return element_; }
  GstElement* input() const { return in_; }
  GstElement* output() const { return out_; }

 private:
  GstElement *pipeline_, *in_, *out_, *element_;
  GstBus* bus_;
};

GstClockTime pts_of(const SamplePtr& sample) {
  return GST_BUFFER_PTS(gst_sample_get_buffer(sample.get()));
}

// What the frame repaints: the first byte of the input's frame.
int fed_of(const SamplePtr& sample) {
  GstVideoInfo info;
  gst_video_info_from_caps(&info, gst_sample_get_caps(sample.get()));
  GstVideoFrame frame;
  if (!gst_video_frame_map(&frame, &info, gst_sample_get_buffer(sample.get()), GST_MAP_READ)) return -1;
  const int y = GST_VIDEO_FRAME_HEIGHT(&frame) * 5 / 6, x = GST_VIDEO_FRAME_WIDTH(&frame) / 2;
  const auto* data = static_cast<const uint8_t*>(GST_VIDEO_FRAME_COMP_DATA(&frame, 0));
  const int level =
      data[y * GST_VIDEO_FRAME_COMP_STRIDE(&frame, 0) + x * GST_VIDEO_FRAME_COMP_PSTRIDE(&frame, 0)];
  gst_video_frame_unmap(&frame);
  return level;
}

GstClockTime least_latency(GstElement* element) {
  GstPad* pad = gst_element_get_static_pad(element, "src");
  GstQuery* query = gst_query_new_latency();
  GstClockTime least = GST_CLOCK_TIME_NONE;
  if (gst_pad_query(pad, query)) gst_query_parse_latency(query, nullptr, &least, nullptr);
  gst_query_unref(query);
  gst_object_unref(pad);
  return least;
}

}  // namespace

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

TEST(Filter, NoTimeOrATimeBackIsPassedOn) {
  Filter filter("");
  filter.push(grey(1, 5 * kFrame));
  filter.push(grey(2, GST_CLOCK_TIME_NONE));
  filter.push(grey(3, 2 * kFrame));
  filter.push(grey(4, GST_CLOCK_TIME_NONE));
  for (const int wanted : {5, 6, 2, 3}) {
    const SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample);
    EXPECT_EQ(pts_of(sample), static_cast<GstClockTime>(wanted) * kFrame);
  }
}

TEST(Filter, StridesAndCropsOfTheInputAreRead) {
  Filter filter("");
  for (int i = 0; i < 4; ++i) {
    // The picture begins 40 bytes and two rows into memory whose rows are 64 bytes longer.
    const gsize stride = 4 * 64 + 64, offset = 2 * stride + 40, size = stride * 52;
    GstBuffer* buffer = gst_buffer_new_allocate(nullptr, size, nullptr);
    gst_buffer_memset(buffer, 0, 7, size);
    gst_buffer_memset(buffer, offset, static_cast<guint8>(200 + i), size - offset);
    gsize offsets[GST_VIDEO_MAX_PLANES] = {offset};
    gint strides[GST_VIDEO_MAX_PLANES] = {static_cast<gint>(stride)};
    gst_buffer_add_video_meta_full(buffer, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_FORMAT_RGBA, 64, 48, 1,
                                   offsets, strides);
    GST_BUFFER_PTS(buffer) = static_cast<GstClockTime>(i) * kFrame;
    filter.push(buffer);
  }
  for (int i = 0; i < 4; ++i) {
    const SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample);
    EXPECT_EQ(fed_of(sample), 200 + i);
  }
}

TEST(Filter, AGapLetsAPartOfAChunkOutAndFollowsIt) {
  Filter filter("");
  filter.push_frames(0, 2);
  GstPad* pad = gst_element_get_static_pad(filter.input(), "src");
  ASSERT_TRUE(eventually([&] {  // the frames have passed the source
    GstPad* sink = gst_element_get_static_pad(filter.element(), "sink");
    GstCaps* caps = gst_pad_get_current_caps(sink);
    gst_object_unref(sink);
    const bool there = caps != nullptr;
    gst_clear_caps(&caps);
    return there && gst_app_src_get_current_level_bytes(GST_APP_SRC(filter.input())) == 0;
  }));
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

TEST(Filter, CapsThatChangeAreFollowed) {
  Filter filter("model=fake:size_step=8");
  filter.push_frames(0, 6);
  filter.use_caps("video/x-raw,format=RGBA,width=96,height=64,framerate=16/1,colorimetry=sRGB");
  for (int i = 6; i < 9; ++i)
    filter.push(grey(static_cast<uint8_t>(i), static_cast<GstClockTime>(i) * kFrame, 96, 64));
  filter.end();
  for (int i = 0; i < 9; ++i) {
    const SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample) << i;
    EXPECT_EQ(pts_of(sample), static_cast<GstClockTime>(i) * kFrame);
    EXPECT_EQ(fed_of(sample), i);
    int width = 0;
    gst_structure_get_int(gst_caps_get_structure(gst_sample_get_caps(sample.get()), 0), "width", &width);
    EXPECT_EQ(width, i < 6 ? 64 : 96);
  }
  EXPECT_FALSE(filter.pull());
  EXPECT_TRUE(filter.has_ended());
}

struct BadCaps {
  const char *caps, *word;
};
class FilterCaps : public testing::TestWithParam<BadCaps> {};
INSTANTIATE_TEST_SUITE_P(
    Bad, FilterCaps,
    testing::Values(
        BadCaps{"video/x-raw,format=RGBA,width=66,height=48,framerate=16/1", "width: the model takes 64"},
        BadCaps{"video/x-raw,format=RGBA,width=64,height=48,framerate=25/1",
                "framerate: the model takes 16/1"},
        BadCaps{"video/x-raw,format=I420,width=64,height=48,framerate=16/1,colorimetry=bt601", "colorimetry"},
        BadCaps{"video/x-raw,format=YUY2,width=64,height=48,framerate=16/1", "format"}));

TEST_P(FilterCaps, AreAnErrorThatNamesTheRemedy) {
  Filter filter("", GetParam().caps);
  filter.push(gst_buffer_new_allocate(nullptr, 4 * 66 * 48, nullptr));
  const MessagePtr error = filter.message(GST_MESSAGE_ERROR, [&](GstMessage* message) {
    return GST_MESSAGE_SRC(message) == GST_OBJECT(filter.element());
  });
  ASSERT_TRUE(error);
  const std::string text = text_of(error.get());
  EXPECT_NE(text.find("videoconvertscale ! videorate"), std::string::npos) << text;
  EXPECT_NE(text.find(GetParam().word), std::string::npos) << text;
}

TEST(Filter, UpstreamThatCanGiveNothingElseIsToldWhy) {
  GstElement* pipeline = gst_parse_launch(
      "videotestsrc ! video/x-raw,format=RGBA,width=66,height=48,framerate=25/1 ! flowcachefilter ! fakesink",
      nullptr);
  GstBus* bus = gst_element_get_bus(pipeline);
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  const MessagePtr warning(gst_bus_timed_pop_filtered(bus, kPatience, GST_MESSAGE_WARNING));
  ASSERT_TRUE(warning);
  const std::string text = text_of(warning.get());
  EXPECT_NE(text.find("framerate: the model takes 16/1, the input has 25/1"), std::string::npos) << text;
  EXPECT_NE(text.find("videoconvertscale ! videorate"), std::string::npos) << text;
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(bus);
  gst_object_unref(pipeline);
}

TEST(Filter, AModelWithoutEncoderSaysSoOnce) {
  Filter filter("model=fake:blind=1");
  filter.push_frames(0, 8);
  const MessagePtr error = filter.message(GST_MESSAGE_ERROR);
  ASSERT_TRUE(error);
  EXPECT_NE(text_of(error.get()).find("no encoder"), std::string::npos) << text_of(error.get());
}

TEST(Filter, StrengthHoldsFromTheNextChunkOnWithAReceipt) {
  Filter filter("strength=0.25");
  filter.push_frames(0, 4);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(filter.pull());
  g_object_set(filter.element(), "strength", std::nan(""), nullptr);  // ignored
  g_object_set(filter.element(), "strength", 0.75, nullptr);
  filter.push_frames(4, 8);
  for (int i = 4; i < 8; ++i) ASSERT_TRUE(filter.pull());
  for (const auto& [strength, chunk] : {std::pair{0.25, 0}, std::pair{0.75, 1}}) {
    const MessagePtr receipt = filter.element_message("flowcache-strength");
    ASSERT_TRUE(receipt);
    const GstStructure* s = gst_message_get_structure(receipt.get());
    double given = -1;
    guint64 from = 99, pts = 0;
    gst_structure_get_double(s, "strength", &given);
    gst_structure_get_uint64(s, "chunk", &from);
    gst_structure_get_uint64(s, "pts", &pts);
    EXPECT_EQ(given, strength);
    EXPECT_EQ(from, static_cast<guint64>(chunk));
    EXPECT_EQ(pts, static_cast<GstClockTime>(4 * chunk) * kFrame);
  }
}

TEST(Filter, FollowsTheMotionIfItIsAskedTo) {
  Filter filter("strength=0.5 follow-motion=true");
  filter.push_frames(0, 4);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(filter.pull());
  g_object_set(filter.element(), "follow-motion", FALSE, nullptr);
  filter.push_frames(4, 8);
  for (int i = 4; i < 8; ++i) ASSERT_TRUE(filter.pull());
  for (const double wanted : {0.4, 0.5}) {
    const MessagePtr receipt = filter.element_message("flowcache-strength");
    ASSERT_TRUE(receipt);
    double strength = -1;
    gst_structure_get_double(gst_message_get_structure(receipt.get()), "strength", &strength);
    EXPECT_DOUBLE_EQ(strength, wanted);
  }
}

TEST(Filter, PromptsHaveReceipts) {
  Filter filter("prompt=\"orange fire\"");
  filter.push_frames(0, 4);
  for (int i = 0; i < 4; ++i) {
    const SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample);
    EXPECT_EQ(look_at(sample.get()).hash, hash_of("orange fire"));
  }
  g_object_set(filter.element(), "prompt", "blue snow", nullptr);
  const MessagePtr received = filter.message(GST_MESSAGE_ELEMENT, [](GstMessage* message) {
    const GstStructure* s = gst_message_get_structure(message);
    return g_strcmp0(gst_structure_get_string(s, "prompt"), "blue snow") == 0 &&
           g_strcmp0(gst_structure_get_string(s, "state"), "received") == 0;
  });
  ASSERT_TRUE(received);
  filter.push_frames(4, 8);
  const SamplePtr sample = filter.pull();
  ASSERT_TRUE(sample);
  EXPECT_EQ(look_at(sample.get()).hash, hash_of("blue snow"));
  const MessagePtr applied = filter.message(GST_MESSAGE_ELEMENT, [](GstMessage* message) {
    const GstStructure* s = gst_message_get_structure(message);
    return g_strcmp0(gst_structure_get_string(s, "prompt"), "blue snow") == 0 &&
           g_strcmp0(gst_structure_get_string(s, "state"), "applied") == 0;
  });
  ASSERT_TRUE(applied);
  guint64 pts = 0;
  gst_structure_get_uint64(gst_message_get_structure(applied.get()), "pts", &pts);
  EXPECT_EQ(pts, 4 * kFrame);
}

// The engine is held, so nothing gets done: a live input goes on, whole chunks of it are left out, and nothing piles up.
TEST(Filter, ALiveInputThatIsTooFastLosesWholeChunksAndSaysSo) {
  const int restarts = element_test::fake().restarts();
  Hold hold(0);
  Filter filter("", kRgba, /*live=*/true);
  filter.push_frames(0, 1);  // starts the loading
  ASSERT_TRUE(filter.message(GST_MESSAGE_PROGRESS, [](GstMessage* message) {
    GstProgressType type;
    gst_message_parse_progress(message, &type, nullptr, nullptr);
    return type == GST_PROGRESS_TYPE_COMPLETE;
  }));
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
  // Before anything is measured, computing is expected to take as long as the chunk plays.
  EXPECT_EQ(least_latency(filter.element()), 8 * kFrame);
  // Chunk 1 says that it took 100 ms: two frames.
  Filter measured("late=stall model=fake:report_ms=100", kRgba, /*live=*/true);
  for (int i = 0; i < 12; i += 4) {
    measured.push_frames(i, i + 4);
    for (int k = 0; k < 4; ++k) ASSERT_TRUE(measured.pull());
  }
  EXPECT_TRUE(measured.message(GST_MESSAGE_LATENCY));
  EXPECT_EQ(least_latency(measured.element()), 6 * kFrame);
}

TEST(Filter, StopsWhateverItWaitsFor) {
  {
    Hold hold(0);
    Filter filter("late=stall");
    filter.push_frames(0, 40);
    filter.stop();
  }
  Filter loading("model=fake:load_ms=60000");
  loading.push_frames(0, 40);
  loading.stop();
  EXPECT_TRUE(eventually(
      [] { return element_test::fake().live_streams() == 0 && element_test::fake().live_chunks() == 0; }));
}

TEST(Filter, AnErrorOfTheEngineEndsThePipeline) {
  Filter filter("model=\"fake:fail_at=1,fail_status=5\"");
  filter.push_frames(0, 40);
  const MessagePtr error = filter.message(GST_MESSAGE_ERROR);
  ASSERT_TRUE(error);
  EXPECT_EQ(GST_MESSAGE_SRC(error.get()), GST_OBJECT(filter.element())) << text_of(error.get());
}

TEST(Filter, SharesItsEngineWithASourceAndAnotherFilter) {
  const int opened = element_test::fake().opened_engines();
  EXPECT_EQ(run_to_end("flowcachesrc is-live=false num-buffers=16 ! tee name=t "
                       "t. ! queue ! flowcachefilter ! fakesink sync=false "
                       "t. ! queue ! flowcachefilter strength=0.2 ! fakesink sync=false"),
            "");
  EXPECT_EQ(element_test::fake().opened_engines(), opened + 1);
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

// A reset begins at chunk 0 again, and no frame is lost or shown at another one's time.
TEST(Filter, AResetLosesNoFrame) {
  Filter filter("");
  filter.push_frames(0, 8);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(filter.pull());
  g_signal_emit_by_name(filter.element(), "reset", guint64{7});
  filter.push_frames(8, 16);
  filter.end();
  for (int i = 5; i < 16; ++i) {
    const SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample) << i;
    EXPECT_EQ(fed_of(sample), i);
    EXPECT_EQ(pts_of(sample), static_cast<GstClockTime>(i) * kFrame);
    EXPECT_EQ(look_at(sample.get()).number, static_cast<uint32_t>(i < 8 ? i : i - 8));
  }
}

// The property's controller takes the time of the chunk's first frame.
TEST(Filter, StrengthCanBeControlled) {
  Filter filter("");
  GstControlSource* source = gst_interpolation_control_source_new();
  g_object_set(source, "mode", GST_INTERPOLATION_MODE_NONE, nullptr);
  gst_timed_value_control_source_set(GST_TIMED_VALUE_CONTROL_SOURCE(source), 0, 0.25);
  gst_timed_value_control_source_set(GST_TIMED_VALUE_CONTROL_SOURCE(source), 4 * kFrame, 0.5);
  gst_object_add_control_binding(
      GST_OBJECT(filter.element()),
      gst_direct_control_binding_new_absolute(GST_OBJECT(filter.element()), "strength", source));
  gst_object_unref(source);
  filter.push_frames(0, 8);
  for (const double wanted : {0.25, 0.5}) {
    const MessagePtr receipt = filter.element_message("flowcache-strength");
    ASSERT_TRUE(receipt);
    double strength = -1;
    gst_structure_get_double(gst_message_get_structure(receipt.get()), "strength", &strength);
    EXPECT_EQ(strength, wanted);
  }
}

TEST(Filter, RunsBehindWhatOtherElementsMake) {
  EXPECT_EQ(
      run_to_end("videotestsrc num-buffers=30 ! video/x-raw,width=320,height=240,framerate=30000/1001 ! "
                 "videoconvertscale ! videorate ! flowcachefilter ! videoconvert ! fakesink sync=false"),
      "");
  EXPECT_EQ(run_to_end("videotestsrc num-buffers=30 is-live=true ! video/x-raw,framerate=60/1 ! "
                       "videoconvertscale ! videorate ! flowcachefilter ! fakesink"),
            "");
}
