// SPDX-License-Identifier: LGPL-2.1-or-later
// What a frame says about itself, in H.264, H.265 and AV1 streams.
#include <glib/gstdio.h>
#include <gst/app/gstappsink.h>
#include <gst/video/video-sei.h>

#include "../../gst-plugin/user_data.h"
#include "element_test.h"

using namespace element_test;
using flowcache::gst::Codec;
using flowcache::gst::has_user_data;
using flowcache::gst::place_of_user_data;
using flowcache::gst::UnitFormat;
using flowcache::gst::user_data_unit;
using Bytes = std::vector<uint8_t>;

namespace {

const Bytes kUuid = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

Bytes concat(std::vector<Bytes> parts) {
  Bytes all;
  for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

TEST(Sei, MessageHasPrefixTypeSizeAndStopBit) {
  EXPECT_EQ(user_data_unit(kUuid, Bytes{0xaa}, {Codec::H264, 0}),
            concat({{0, 0, 0, 1, 6, 5, 17}, kUuid, {0xaa, 0x80}}));
  EXPECT_EQ(user_data_unit(kUuid, Bytes{0xaa}, {Codec::H264, 4}),
            concat({{0, 0, 0, 21, 6, 5, 17}, kUuid, {0xaa, 0x80}}));
  EXPECT_EQ(user_data_unit(kUuid, Bytes{0xaa}, {Codec::H264, 2}),
            concat({{0, 21, 6, 5, 17}, kUuid, {0xaa, 0x80}}));
}

TEST(Sei, LongSizesAndStartCodesAreEscaped) {
  const Bytes long_one = user_data_unit(kUuid, Bytes(300, 7), {Codec::H264, 0});
  EXPECT_EQ(long_one[6], 255);
  EXPECT_EQ(long_one[7], 316 - 255);
  EXPECT_EQ(user_data_unit(kUuid, Bytes{0, 0, 1, 0, 0, 0}, {Codec::H264, 0}),
            concat({{0, 0, 0, 1, 6, 5, 22}, kUuid, {0, 0, 3, 1, 0, 0, 3, 0, 0x80}}));
}

TEST(Sei, GoesInFrontOfTheFirstSlice) {
  EXPECT_EQ(place_of_user_data(Bytes{0, 0, 0, 1, 0x67, 9, 9, 0, 0, 0, 1, 0x65, 1}, {Codec::H264, 0}), 7u);
  EXPECT_EQ(place_of_user_data(Bytes{0, 0, 1, 0x41, 1}, {Codec::H264, 0}), 0u);
  EXPECT_EQ(place_of_user_data(Bytes{0, 0, 0, 2, 0x67, 9, 0, 0, 0, 1, 0x65}, {Codec::H264, 4}), 6u);
  EXPECT_EQ(place_of_user_data(Bytes{2, 0x67, 9, 1, 0x65}, {Codec::H264, 1}), 3u);
}

TEST(Sei, TheOtherCodecsHaveUnitsOfTheirOwn) {
  EXPECT_EQ(user_data_unit(kUuid, Bytes{0, 0, 1}, {Codec::H265, 0}),
            concat({{0, 0, 0, 1, 0x4e, 1, 5, 19}, kUuid, {0, 0, 3, 1, 0x80}}));
  EXPECT_EQ(user_data_unit(kUuid, Bytes{0, 0, 1}, {Codec::H265, 4}),
            concat({{0, 0, 0, 25, 0x4e, 1, 5, 19}, kUuid, {0, 0, 3, 1, 0x80}}));
  EXPECT_EQ(user_data_unit(kUuid, Bytes{0, 0, 1}, {Codec::Av1, 0}),
            concat({{0x2a, 21, 6}, kUuid, {0, 0, 1, 0x80}}));
  const Bytes long_one = user_data_unit(kUuid, Bytes(300, 7), {Codec::Av1, 0});
  EXPECT_EQ(long_one[1], (318 & 127) | 128);
  EXPECT_EQ(long_one[2], 318 >> 7);
}

TEST(Sei, AndPlacesOfTheirOwn) {
  const UnitFormat start_codes{Codec::H265, 0}, lengths{Codec::H265, 4};
  // A video parameter set (32), then an IDR picture (19) or another one (1).
  EXPECT_EQ(place_of_user_data(Bytes{0, 0, 0, 1, 0x40, 1, 9, 0, 0, 0, 1, 0x26, 1, 9}, start_codes), 7u);
  EXPECT_EQ(place_of_user_data(Bytes{0, 0, 0, 3, 0x40, 1, 9, 0, 0, 0, 3, 0x02, 1, 9}, lengths), 7u);
  EXPECT_EQ(place_of_user_data(Bytes{0, 0, 0, 1, 0x40, 1, 9}, start_codes), std::nullopt);
  const UnitFormat av1{Codec::Av1, 0};
  // A temporal delimiter, a sequence header (with an extension byte), then a frame or a frame header.
  EXPECT_EQ(place_of_user_data(Bytes{0x12, 0, 0x0e, 0, 2, 9, 9, 0x32, 1, 9}, av1), 7u);
  EXPECT_EQ(place_of_user_data(Bytes{0x12, 0, 0x1a, 1, 9}, av1), 2u);
  EXPECT_EQ(place_of_user_data(Bytes{0x12, 0}, av1), std::nullopt);
}

TEST(Sei, DamagedUnitsHaveNoPlace) {
  const Bytes obus = {0x12, 0, 0x0e, 0, 2, 9, 9, 0x32, 1, 9};
  for (size_t end = 0; end < 7; ++end)
    EXPECT_EQ(place_of_user_data(Bytes(obus.begin(), obus.begin() + static_cast<long>(end)), {Codec::Av1, 0}),
              std::nullopt);
  EXPECT_EQ(
      place_of_user_data(Bytes{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, {Codec::Av1, 0}),
      std::nullopt);
  EXPECT_EQ(place_of_user_data(Bytes{0x08, 9, 9}, {Codec::Av1, 0}), std::nullopt);

  for (const uint32_t length_bytes : {0u, 1u, 2u, 4u}) {
    EXPECT_EQ(place_of_user_data(Bytes{}, {Codec::H264, length_bytes}), std::nullopt);
    EXPECT_EQ(place_of_user_data(Bytes{0, 0, 0}, {Codec::H264, length_bytes}), std::nullopt);
    EXPECT_EQ(place_of_user_data(Bytes{0x7f, 0x65, 0xff, 0xff, 0x65}, {Codec::H264, length_bytes}),
              std::nullopt);
  }
}

// The JSON of each access unit, read back by GStreamer's own parser.
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

// Expects twelve frames of three chunks, in any order.
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

struct Way {
  const char* encoder;
  const char* container;  // the stream goes through a file, so that no meta gets through
  const char* reader;     // reads this file with a parser that turns messages into metas
};
void PrintTo(const Way& way, std::ostream* out) {
  *out << way.encoder;
}
class SeiPipelines : public testing::TestWithParam<Way> {};

TEST_P(SeiPipelines, ArriveInTheBytes) {
  g_autofree char* path = g_build_filename(g_get_tmp_dir(), "flowcache-sei-test.bin", nullptr);
  const auto [encoder, container, reader] = GetParam();
  ASSERT_EQ(run_to_end(std::string(kSource) + "sei=true ! " + encoder + " ! flowcachesei ! " + container +
                       " ! filesink location=" + path),
            "");
  expect_all_frames(read_back(std::string("filesrc location=") + path + " ! " + reader));
  g_remove(path);
}

#define X264 "x264enc speed-preset=ultrafast bframes=2 ! video/x-h264,stream-format="
INSTANTIATE_TEST_SUITE_P(Formats, SeiPipelines,
                         testing::Values(Way{X264 "byte-stream", "identity", "h264parse"},
                                         Way{X264 "avc", "mp4mux", "qtdemux ! h264parse"}));

// The bytes of a stream, and the planes of its decoded pictures.
std::pair<std::string, std::string> coded_and_decoded(const std::string& coded, const std::string& decoder) {
  std::string parts[2];
  GstElement* pipeline =
      gst_parse_launch((std::string(kSource) + coded + " ! tee name=t ! queue ! " + decoder +
                        " ! appsink name=k1 sync=false t. ! queue ! appsink name=k0 sync=false")
                           .c_str(),
                       nullptr);
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  for (int i = 0; i < 2; ++i) {
    GstElement* sink = gst_bin_get_by_name(GST_BIN(pipeline), i == 0 ? "k0" : "k1");
    while (GstSample* sample = gst_app_sink_try_pull_sample(GST_APP_SINK(sink), kPatience)) {
      GstMapInfo map;
      gst_buffer_map(gst_sample_get_buffer(sample), &map, GST_MAP_READ);
      parts[i].append(reinterpret_cast<const char*>(map.data), map.size);
      gst_buffer_unmap(gst_sample_get_buffer(sample), &map);
      gst_sample_unref(sample);
    }
    gst_object_unref(sink);
  }
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(pipeline);
  return {parts[0], parts[1]};
}

struct Coder {
  const char *encoder, *decoder;
};
void PrintTo(const Coder& coder, std::ostream* out) {
  *out << coder.encoder;
}
class SeiCoders : public testing::TestWithParam<Coder> {};

// For these codecs GStreamer 1.22 does not turn messages into metas, so the bytes are searched. Decoders
// skip the messages.
TEST_P(SeiCoders, CarryItAndDecodeAsBefore) {
  const auto [encoder, decoder] = GetParam();
  const auto with = coded_and_decoded(std::string("sei=true ! ") + encoder + " ! flowcachesei", decoder);
  const auto without = coded_and_decoded(std::string("! ") + encoder + " ! flowcachesei", decoder);
  EXPECT_EQ(with.second.size(), 12u * 320 * 192 * 3 / 2);
  EXPECT_EQ(with.second, without.second);
  EXPECT_EQ(without.first.find("flowcache"), std::string::npos);
  std::vector<std::string> found;
  for (size_t at = with.first.find("{\"generator"); at != std::string::npos;
       at = with.first.find("{\"generator", at + 1))
    found.push_back(with.first.substr(at, with.first.find('}', at) + 1 - at));
  expect_all_frames(found);
}

#define X265 "x265enc speed-preset=ultrafast ! video/x-h265,stream-format=byte-stream"
INSTANTIATE_TEST_SUITE_P(
    Formats, SeiCoders,
    testing::Values(Coder{X265, "avdec_h265"},
                    Coder{X265 " ! h265parse ! video/x-h265,stream-format=hvc1,alignment=au", "avdec_h265"},
                    Coder{"av1enc cpu-used=8 lag-in-frames=0", "av1dec"}));

TEST(Sei, MessagesAreFoundHoweverTheyAreEscaped) {
  for (const Bytes& data : {Bytes{0xaa}, Bytes{0, 0, 1, 0, 0, 0}, Bytes(300, 7)}) {
    for (const UnitFormat format : {UnitFormat{Codec::H264, 0}, UnitFormat{Codec::H264, 4},
                                    UnitFormat{Codec::H265, 0}, UnitFormat{Codec::Av1, 0}}) {
      const Bytes unit = user_data_unit(kUuid, data, format);
      EXPECT_TRUE(has_user_data(unit, kUuid, data, format));
      EXPECT_FALSE(has_user_data(unit, kUuid, Bytes{0xbb}, format));
      EXPECT_FALSE(has_user_data(Bytes{}, kUuid, data, format));
    }
  }
  // A size that is a multiple of 255 ends with a zero, which counts for the escaping of what follows.
  const Bytes zeros(16, 0), data(255 - 16, 7);
  EXPECT_TRUE(has_user_data(user_data_unit(zeros, data, {Codec::H264, 0}), zeros, data, {Codec::H264, 0}));
}

TEST(Sei, UnitThatItsLengthCannotTellIsLeftOut) {
  EXPECT_EQ(user_data_unit(kUuid, Bytes(230, 7), {Codec::H264, 1}).size(), 1u + 3 + 16 + 230 + 1);
  EXPECT_EQ(user_data_unit(kUuid, Bytes(300, 7), {Codec::H264, 1}), Bytes{});
  EXPECT_EQ(user_data_unit(kUuid, Bytes(1 << 16, 7), {Codec::H265, 2}), Bytes{});
}

// How many messages are in the bytes that reach the sink, and how many in metas.
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

// x264enc's own identification is such a message, too, with another UUID.
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
