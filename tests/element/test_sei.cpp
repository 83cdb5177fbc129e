// SPDX-License-Identifier: LGPL-2.1-or-later
// What a frame says about itself, inside H.264.
#include <glib/gstdio.h>
#include <gst/app/gstappsink.h>
#include <gst/video/video-sei.h>

#include "../../gst-plugin/h264_sei.h"
#include "element_test.h"

using namespace element_test;
using flowcache::gst::first_slice;
using flowcache::gst::has_user_data;
using flowcache::gst::NalFormat;
using flowcache::gst::sei_user_data;
using Bytes = std::vector<uint8_t>;

namespace {

const Bytes kUuid = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

Bytes concat(std::vector<Bytes> parts) {
  Bytes all;
  for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

TEST(Sei, MessageHasPrefixTypeSizeAndStopBit) {
  EXPECT_EQ(sei_user_data(kUuid, Bytes{0xaa}, {0}), concat({{0, 0, 0, 1, 6, 5, 17}, kUuid, {0xaa, 0x80}}));
  EXPECT_EQ(sei_user_data(kUuid, Bytes{0xaa}, {4}), concat({{0, 0, 0, 21, 6, 5, 17}, kUuid, {0xaa, 0x80}}));
  EXPECT_EQ(sei_user_data(kUuid, Bytes{0xaa}, {2}), concat({{0, 21, 6, 5, 17}, kUuid, {0xaa, 0x80}}));
}

TEST(Sei, LongSizesAndStartCodesAreEscaped) {
  const Bytes long_one = sei_user_data(kUuid, Bytes(300, 7), {0});
  EXPECT_EQ(long_one[6], 255);
  EXPECT_EQ(long_one[7], 316 - 255);
  EXPECT_EQ(sei_user_data(kUuid, Bytes{0, 0, 1, 0, 0, 0}, {0}),
            concat({{0, 0, 0, 1, 6, 5, 22}, kUuid, {0, 0, 3, 1, 0, 0, 3, 0, 0x80}}));
}

TEST(Sei, GoesInFrontOfTheFirstSlice) {
  EXPECT_EQ(first_slice(Bytes{0, 0, 0, 1, 0x67, 9, 9, 0, 0, 0, 1, 0x65, 1}, {0}), 7u);
  EXPECT_EQ(first_slice(Bytes{0, 0, 1, 0x41, 1}, {0}), 0u);
  EXPECT_EQ(first_slice(Bytes{0, 0, 0, 2, 0x67, 9, 0, 0, 0, 1, 0x65}, {4}), 6u);
  EXPECT_EQ(first_slice(Bytes{2, 0x67, 9, 1, 0x65}, {1}), 3u);
}

TEST(Sei, DamagedUnitsHaveNoPlace) {
  for (const uint32_t length_bytes : {0u, 1u, 2u, 4u}) {
    EXPECT_EQ(first_slice(Bytes{}, {length_bytes}), std::nullopt);
    EXPECT_EQ(first_slice(Bytes{0, 0, 0}, {length_bytes}), std::nullopt);
    EXPECT_EQ(first_slice(Bytes{0x7f, 0x65, 0xff, 0xff, 0x65}, {length_bytes}), std::nullopt);
  }
}

/// The JSON of each access unit, read back by GStreamer's own parser.
std::vector<std::string> read_back(const std::string& launch_line) {
  GstElement* pipeline = gst_parse_launch((launch_line + " ! appsink name=k sync=false").c_str(), nullptr);
  GstElement* sink = gst_bin_get_by_name(GST_BIN(pipeline), "k");
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  std::vector<std::string> found;
  while (GstSample* sample = gst_app_sink_try_pull_sample(GST_APP_SINK(sink), kPatience)) {
    gpointer state = nullptr;
    while (GstMeta* meta = gst_buffer_iterate_meta_filtered(
               gst_sample_get_buffer(sample), &state, GST_VIDEO_SEI_USER_DATA_UNREGISTERED_META_API_TYPE)) {
      const auto* sei = reinterpret_cast<GstVideoSEIUserDataUnregisteredMeta*>(meta);
      const std::string text(reinterpret_cast<const char*>(sei->data), sei->size);
      if (text.find("flowcache") != std::string::npos) found.push_back(text);
    }
    gst_sample_unref(sample);
  }
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(sink);
  gst_object_unref(pipeline);
  return found;
}

/// Twelve frames, three chunks, in any order that the encoder gives them.
void expect_all_frames(std::vector<std::string> found) {
  ASSERT_EQ(found.size(), 12u);
  for (int i = 0; i < 12; ++i) {
    const std::string wanted =
        "\"chunk\":" + std::to_string(i / 4) + ",\"frame\":" + std::to_string(i % 4) + ",\"frames\":4";
    int count = 0;
    for (const std::string& text : found) count += text.find(wanted) != std::string::npos;
    EXPECT_EQ(count, 1) << wanted;
  }
}

constexpr const char* kSource = "flowcachesrc model=fake:width=320,height=192 is-live=false num-buffers=12 ";

class SeiPipelines : public testing::TestWithParam<const char*> {};

/// Through a file, so that nothing but bytes gets across.
TEST_P(SeiPipelines, ArriveInTheBytes) {
  g_autofree char* path = g_build_filename(g_get_tmp_dir(), "flowcache-sei-test.bin", nullptr);
  const std::string to = std::string(" ! filesink location=") + path;
  const bool mp4 = std::string(GetParam()).find("avc") != std::string::npos;
  ASSERT_EQ(run_to_end(std::string(kSource) + "sei=true ! x264enc speed-preset=ultrafast bframes=2 ! " +
                       GetParam() + " ! flowcachesei ! " + (mp4 ? "mp4mux" : "identity") + to),
            "");
  expect_all_frames(
      read_back(std::string("filesrc location=") + path + (mp4 ? " ! qtdemux" : "") + " ! h264parse"));
  g_remove(path);
}

INSTANTIATE_TEST_SUITE_P(Formats, SeiPipelines,
                         testing::Values("video/x-h264,stream-format=byte-stream",
                                         "video/x-h264,stream-format=avc"));

TEST(Sei, MessagesAreFoundHoweverTheyAreEscaped) {
  for (const Bytes& data : {Bytes{0xaa}, Bytes{0, 0, 1, 0, 0, 0}, Bytes(300, 7)}) {
    for (const uint32_t length_bytes : {0u, 4u}) {
      const Bytes unit = sei_user_data(kUuid, data, {length_bytes});
      EXPECT_TRUE(has_user_data(unit, kUuid, data));
      EXPECT_FALSE(has_user_data(unit, kUuid, Bytes{0xbb}));
      EXPECT_FALSE(has_user_data(Bytes{}, kUuid, data));
    }
  }
}

/// How many of the messages are in the bytes that reach the sink, and how many beside them.
std::pair<int, int> in_bytes_and_beside(const std::string& behind_the_encoder) {
  GstElement* pipeline = gst_parse_launch(
      (std::string(kSource) + "sei=true ! x264enc speed-preset=ultrafast tune=zerolatency ! " +
       behind_the_encoder + " ! appsink name=k sync=false")
          .c_str(),
      nullptr);
  GstElement* sink = gst_bin_get_by_name(GST_BIN(pipeline), "k");
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  int bytes = 0, beside = 0;
  while (GstSample* sample = gst_app_sink_try_pull_sample(GST_APP_SINK(sink), 20 * GST_SECOND)) {
    GstBuffer* buffer = gst_sample_get_buffer(sample);
    beside +=
        static_cast<int>(gst_buffer_get_n_meta(buffer, GST_VIDEO_SEI_USER_DATA_UNREGISTERED_META_API_TYPE));
    GstMapInfo map;
    gst_buffer_map(buffer, &map, GST_MAP_READ);
    const std::string text(reinterpret_cast<const char*>(map.data), map.size),
        mark = "\"generator\":\"flowcache\"";
    for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1)) ++bytes;
    gst_buffer_unmap(buffer, &map);
    gst_sample_unref(sample);
  }
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(sink);
  gst_object_unref(pipeline);
  return {bytes, beside};
}

/// x264enc's own identification is such a message too, of another generator.
TEST(Sei, IsWrittenOnceHoweverOftenItPasses) {
  EXPECT_EQ(in_bytes_and_beside("flowcachesei"), std::pair(12, 0));
  EXPECT_EQ(in_bytes_and_beside("flowcachesei ! flowcachesei"), std::pair(12, 0));
  EXPECT_EQ(in_bytes_and_beside("flowcachesei ! h264parse ! flowcachesei").first, 12);
  const auto parsed = in_bytes_and_beside("flowcachesei ! h264parse ! video/x-h264,alignment=au");
  EXPECT_EQ(parsed.first, 12);
  EXPECT_GE(parsed.second, 12);
  EXPECT_LE(parsed.second, 13);
}

TEST(Sei, NothingIsAddedUnlessAskedFor) {
  EXPECT_TRUE(read_back(std::string(kSource) + "! x264enc speed-preset=ultrafast ! flowcachesei ! h264parse")
                  .empty());
}

}  // namespace
