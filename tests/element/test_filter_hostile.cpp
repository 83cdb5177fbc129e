// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcachefilter with input that it cannot use, or not as it is: one clear message, and time stays right.
#include <cmath>
#include <cstring>

#include "filter_test.h"

using namespace filter_test;

namespace {

// The texts of the warnings that have been posted.
std::vector<std::string> warnings(Filter& filter) {
  GstBus* bus = gst_element_get_bus(filter.pipeline());
  std::vector<std::string> texts;
  while (GstMessage* one = gst_bus_pop_filtered(bus, GST_MESSAGE_WARNING))
    texts.push_back(text_of(MessagePtr(one).get()));
  gst_object_unref(bus);
  return texts;
}

// Takes the pipeline's one error; the filter posts no second one.
std::string only_error(Filter& filter) {
  const MessagePtr error = filter.message(GST_MESSAGE_ERROR);
  if (!error) return "no error";
  EXPECT_EQ(GST_MESSAGE_SRC(error.get()), GST_OBJECT(filter.element())) << text_of(error.get());
  filter.stop();
  GstBus* bus = gst_element_get_bus(filter.pipeline());
  while (GstMessage* one = gst_bus_pop_filtered(bus, GST_MESSAGE_ERROR)) {
    EXPECT_NE(GST_MESSAGE_SRC(one), GST_OBJECT(filter.element())) << text_of(one);
    gst_message_unref(one);
  }
  gst_object_unref(bus);
  return text_of(error.get());
}

TEST(Filter, NoTimeOrATimeBackIsPassedOn) {
  Filter filter("");
  filter.push(grey(1, 5 * kFrame));
  filter.push(grey(2, GST_CLOCK_TIME_NONE));
  filter.push(grey(3, 2 * kFrame));
  filter.push(grey(4, GST_CLOCK_TIME_NONE));
  filter.push(grey(5, GST_CLOCK_TIME_NONE));
  filter.push(grey(6, 1 * kFrame));
  filter.end();
  for (const int wanted : {5, 6, 2, 3, 4, 1}) {
    const SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample);
    EXPECT_EQ(pts_of(sample), static_cast<GstClockTime>(wanted) * kFrame);
  }
  EXPECT_FALSE(filter.pull());
  const auto said = warnings(filter);
  ASSERT_EQ(said.size(), 2u) << "each is said once";
  EXPECT_NE(said[0].find("without a time"), std::string::npos) << said[0];
  EXPECT_NE(said[1].find("jumps back from 0:00:00.375000000 to 0:00:00.125000000"), std::string::npos)
      << said[1];
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
  EXPECT_TRUE(says(only_error(filter), "no encoder"));
}

TEST(Filter, AnErrorOfTheEngineEndsThePipeline) {
  Filter filter("model=\"fake:fail_at=1,fail_status=5\"");
  filter.push_frames(0, 40);
  const MessagePtr error = filter.message(GST_MESSAGE_ERROR);
  ASSERT_TRUE(error);
  EXPECT_EQ(GST_MESSAGE_SRC(error.get()), GST_OBJECT(filter.element())) << text_of(error.get());
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

// ---- planes

constexpr int kPadWidth = 97, kPadHeight = 75, kCropX = 13, kCropY = 9;

struct Layout {
  const char* format;
  bool crop;
};
void PrintTo(const Layout& layout, std::ostream* out) {
  *out << layout.format << (layout.crop ? " cropped" : " padded");
}
class FilterPlanes : public testing::TestWithParam<Layout> {};

// A buffer whose rows are longer than the picture and whose planes begin somewhere. The picture's first sample has these
// values, everything around it 1. crop: the memory has a larger picture, of which a GstVideoCropMeta names a part.
GstBuffer* scattered(GstVideoFormat format, bool crop, uint8_t luma, uint8_t u, uint8_t v) {
  const GstVideoFormatInfo* info = gst_video_format_get_info(format);
  const guint width = crop ? kPadWidth : 64, height = crop ? kPadHeight : 48;
  const guint x = crop ? kCropX : 0, y = crop ? kCropY : 0;
  gsize offsets[GST_VIDEO_MAX_PLANES] = {}, size = 37;
  gint strides[GST_VIDEO_MAX_PLANES] = {};
  for (guint plane = 0; plane < GST_VIDEO_FORMAT_INFO_N_PLANES(info); ++plane) {
    strides[plane] = static_cast<gint>(4 * width + 20 + 6 * plane);
    offsets[plane] = size;
    size += static_cast<gsize>(strides[plane]) * height + 11;
  }
  GstBuffer* buffer = gst_buffer_new_allocate(nullptr, size, nullptr);
  gst_buffer_memset(buffer, 0, 1, size);
  const uint8_t values[] = {luma, u, v};
  for (guint c = 0; c < MIN(3, GST_VIDEO_FORMAT_INFO_N_COMPONENTS(info)); ++c) {
    const guint plane = GST_VIDEO_FORMAT_INFO_PLANE(info, c);
    const gsize row = y >> GST_VIDEO_FORMAT_INFO_H_SUB(info, c),
                column = x >> GST_VIDEO_FORMAT_INFO_W_SUB(info, c);
    gst_buffer_memset(buffer,
                      offsets[plane] + row * static_cast<gsize>(strides[plane]) +
                          column * static_cast<gsize>(GST_VIDEO_FORMAT_INFO_PSTRIDE(info, c)) +
                          static_cast<gsize>(GST_VIDEO_FORMAT_INFO_POFFSET(info, c)),
                      values[c], 1);
  }
  gst_buffer_add_video_meta_full(buffer, GST_VIDEO_FRAME_FLAG_NONE, format, width, height,
                                 GST_VIDEO_FORMAT_INFO_N_PLANES(info), offsets, strides);
  if (crop) {
    GstVideoCropMeta* part = gst_buffer_add_video_crop_meta(buffer);
    part->x = x;
    part->y = y;
    part->width = 64;
    part->height = 48;
  }
  return buffer;
}

// The three components in the middle of the lower third.
std::vector<int> shown(const SamplePtr& sample) {
  GstVideoInfo info;
  GstVideoFrame frame;
  gst_video_info_from_caps(&info, gst_sample_get_caps(sample.get()));
  if (!gst_video_frame_map(&frame, &info, gst_sample_get_buffer(sample.get()), GST_MAP_READ)) return {};
  std::vector<int> values;
  for (guint c = 0; c < 3; ++c)
    values.push_back(static_cast<const uint8_t*>(GST_VIDEO_FRAME_COMP_DATA(
        &frame, c))[GST_VIDEO_FRAME_COMP_HEIGHT(&frame, c) * 5 / 6 * GST_VIDEO_FRAME_COMP_STRIDE(&frame, c)]);
  gst_video_frame_unmap(&frame);
  return values;
}

TEST_P(FilterPlanes, AreReadWhereTheyLie) {
  const GstVideoFormat format = gst_video_format_from_string(GetParam().format);
  const std::string caps = std::string("video/x-raw,width=64,height=48,framerate=16/1,colorimetry=") +
                           (format == GST_VIDEO_FORMAT_RGBA ? "sRGB" : "bt709,chroma-site=mpeg2") +
                           ",format=" + GetParam().format;
  Filter filter("", caps.c_str());
  for (uint8_t i = 0; i < 4; ++i) {
    GstBuffer* buffer = scattered(format, GetParam().crop, static_cast<uint8_t>(200 + i),
                                  static_cast<uint8_t>(60 + i), static_cast<uint8_t>(90 + i));
    GST_BUFFER_PTS(buffer) = i * kFrame;
    filter.push(buffer);
  }
  for (int i = 0; i < 4; ++i) {
    const SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample);
    // The fake engine paints the first byte as grey, in the output's range, and chroma as it is.
    const int luma = static_cast<int>(std::lround(16 + 219 * (200 + i) / 255.0));
    const auto wanted = format == GST_VIDEO_FORMAT_RGBA ? std::vector<int>{200 + i, 200 + i, 200 + i}
                                                        : std::vector<int>{luma, 60 + i, 90 + i};
    EXPECT_EQ(shown(sample), wanted);
  }
  EXPECT_EQ(warnings(filter).size(), 0u);
}
INSTANTIATE_TEST_SUITE_P(Formats, FilterPlanes,
                         testing::Values(Layout{"NV12", false}, Layout{"NV12", true}, Layout{"I420", false},
                                         Layout{"I420", true}, Layout{"RGBA", true}));

struct BadFrame {
  const char* words;
  std::function<GstBuffer*()> make;
};
void PrintTo(const BadFrame& bad, std::ostream* out) {
  *out << bad.words;
}
class FilterFrames : public testing::TestWithParam<BadFrame> {};

GstBuffer* with_meta(GstVideoFormat format, guint width, guint height) {
  GstBuffer* buffer = gst_buffer_new_allocate(nullptr, gsize{4} * 200 * 200, nullptr);
  gst_buffer_add_video_meta(buffer, GST_VIDEO_FRAME_FLAG_NONE, format, width, height);
  return buffer;
}

GstBuffer* with_crop(guint x, guint width) {
  GstBuffer* buffer = with_meta(GST_VIDEO_FORMAT_RGBA, 80, 60);
  GstVideoCropMeta* part = gst_buffer_add_video_crop_meta(buffer);
  part->x = x;
  part->width = width;
  part->height = 48;
  return buffer;
}

TEST_P(FilterFrames, ThatAreNotWhatTheCapsSayAreOneError) {
  Filter filter("");
  filter.push_frames(0, 4);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(filter.pull());
  filter.push(GetParam().make());
  const std::string error = only_error(filter);
  EXPECT_TRUE(says(error, GetParam().words));
  EXPECT_TRUE(says(error, "videoconvertscale"));
}
INSTANTIATE_TEST_SUITE_P(
    Bad, FilterFrames,
    testing::Values(
        BadFrame{"is 80x60, the caps say 64x48", [] { return with_meta(GST_VIDEO_FORMAT_RGBA, 80, 60); }},
        BadFrame{"is in NV12, the caps say RGBA", [] { return with_meta(GST_VIDEO_FORMAT_NV12, 64, 48); }},
        BadFrame{"is cropped to 50x48, the caps say 64x48", [] { return with_crop(0, 50); }},
        BadFrame{"is cropped at 17,0 to 64x48, which is outside of its 80x60",
                 [] { return with_crop(17, 64); }},
        BadFrame{"has 100 bytes, the caps say 64x48 in RGBA, which is 12288",
                 [] { return gst_buffer_new_allocate(nullptr, 100, nullptr); }}));

// ---- changes that are refused

TEST(Filter, CapsThatTheModelCannotTakeInMidStreamAreOneErrorBehindWhatCameBefore) {
  Filter filter("");
  filter.push_frames(0, 6);
  filter.use_caps("video/x-raw,format=RGBA,width=96,height=64,framerate=16/1,colorimetry=sRGB");
  filter.push(grey(6, 6 * kFrame, 96, 64));
  EXPECT_TRUE(says(only_error(filter), "width: the model takes 64"));
}

// GLib refuses it, with a warning of its own.
TEST(Filter, AStrengthThatIsNoNumberChangesNothing) {
  Filter filter("strength=0.25");
  g_object_set(filter.element(), "strength", std::nan(""), nullptr);
  double strength = -1;
  g_object_get(filter.element(), "strength", &strength, nullptr);
  EXPECT_EQ(strength, 0.25);
  filter.push_frames(0, 4);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(filter.pull());
  EXPECT_EQ(warnings(filter).size(), 0u);
}

// ---- a live input that stops

TEST(Filter, AStalledLiveInputIsShownAndSaidOnce) {
  Filter filter("late=stall", kRgba, /*live=*/true);  // nothing is left out while the model loads
  filter.push_frames(8, 10);                          // half a chunk, and then nothing
  for (int i = 8; i < 10; ++i) {
    const SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample) << "frame " << i << " waits for the rest of its chunk";
    EXPECT_EQ(fed_of(sample), i);
    EXPECT_EQ(pts_of(sample), static_cast<GstClockTime>(i) * kFrame);
  }
  const MessagePtr warning = filter.message(GST_MESSAGE_WARNING);
  ASSERT_TRUE(warning);
  EXPECT_TRUE(says(text_of(warning.get()), "has sent nothing for 1 s. The last 2 frames"));
  const int restarts = element_test::fake().restarts();
  // A frame a minute: each comes out, at its time, and it is not said again.
  for (int i = 1; i < 3; ++i) {
    filter.push(grey(static_cast<uint8_t>(50 + i), static_cast<GstClockTime>(i) * 60 * GST_SECOND));
    const SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample);
    EXPECT_EQ(fed_of(sample), 50 + i);
    EXPECT_EQ(pts_of(sample), static_cast<GstClockTime>(i) * 60 * GST_SECOND);
  }
  EXPECT_EQ(element_test::fake().restarts(), restarts + 2) << "what comes after a pause begins anew";
  EXPECT_EQ(warnings(filter).size(), 0u);
  filter.end();
  EXPECT_FALSE(filter.pull()) << "what filled chunks up must not be shown";
  EXPECT_TRUE(filter.has_ended());
}

// Whoever reads a file, or pauses, may take his time.
TEST(Filter, AnInputThatIsNotLiveIsWaitedFor) {
  Filter filter("");
  filter.push_frames(0, 2);
  ASSERT_TRUE(filter.all_taken());
  EXPECT_FALSE(gst_app_sink_try_pull_sample(GST_APP_SINK(filter.output()), 1500 * GST_MSECOND));
  filter.push_frames(2, 4);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(fed_of(filter.pull()), i);
  EXPECT_EQ(warnings(filter).size(), 0u);
}

}  // namespace
