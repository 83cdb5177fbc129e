// SPDX-License-Identifier: LGPL-2.1-or-later
// An image or a video that the stream continues.
#include <glib/gstdio.h>

#include <algorithm>
#include <cstdlib>

#include "../../gst-plugin/prefix.h"
#include "element_test.h"
#include "pictures/picture.h"

using namespace element_test;
using flowcache::gst::exif_orientation;
using flowcache::gst::load_prefix;
using flowcache::gst::PrefixFrames;

namespace {

// The name of a temporary file, which is removed with this object.
class Path {
 public:
  explicit Path(const char* name) : path_(g_build_filename(g_get_tmp_dir(), name, nullptr)) {
    g_remove(path_);
  }
  ~Path() {
    g_remove(path_);
    g_free(path_);
  }
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;
  const char* get() const { return path_; }

 private:
  char* path_;
};

bool record(const std::string& how, const Path& path) {
  const std::string error = run_to_end("videotestsrc pattern=solid-color foreground-color=0xff2080c0 " + how +
                                       " ! filesink location=" + path.get());
  EXPECT_EQ(error, "");
  return error.empty();
}

const auto kGoOn = [] { return true; };

TEST(Prefix, ImageIsOneFrameOfTheModelsSize) {
  const Path path("flowcache-prefix-test.png");
  ASSERT_TRUE(record("num-buffers=1 ! video/x-raw,format=RGB,width=30,height=20 ! pngenc", path));
  std::string error;
  const PrefixFrames frames = load_prefix(path.get(), 63, 47, kGoOn, &error);
  EXPECT_EQ(error, "");
  ASSERT_EQ(frames.count, 1u);
  ASSERT_EQ(frames.rgb.size(), 3u * 63 * 47);  // rows of 189 bytes, which GStreamer pads
  for (size_t i = 0; i < frames.rgb.size(); i += 3) {
    ASSERT_NEAR(frames.rgb[i], 0x20, 2) << i;
    ASSERT_NEAR(frames.rgb[i + 1], 0x80, 2) << i;
    ASSERT_NEAR(frames.rgb[i + 2], 0xc0, 2) << i;
  }
}

// Writes a file with a picture of `height` rows of RGBA, with one of GStreamer's encoders.
bool encode(std::vector<uint8_t> rgba, int width, int height, const std::string& encoder, const Path& path) {
  const std::string raw = std::string(path.get()) + ".raw";
  g_file_set_contents(raw.c_str(), reinterpret_cast<const char*>(rgba.data()),
                      static_cast<gssize>(rgba.size()), nullptr);
  const std::string error = run_to_end(
      "filesrc location=" + raw + " blocksize=" + std::to_string(rgba.size()) +
      " ! rawvideoparse format=rgba width=" + std::to_string(width) + " height=" + std::to_string(height) +
      " ! " + encoder + " ! filesink location=" + path.get());
  g_remove(raw.c_str());
  EXPECT_EQ(error, "");
  return error.empty();
}

// A picture whose left half is red and whose right half is blue.
std::vector<uint8_t> red_and_blue(int width, int height, uint8_t alpha_of_blue = 255) {
  std::vector<uint8_t> rgba;
  for (int i = 0; i < width * height; ++i) {
    const bool left = i % width < width / 2;
    for (const int c : {left ? 255 : 0, 0, left ? 0 : 255, left ? 255 : int{alpha_of_blue}})
      rgba.push_back(static_cast<uint8_t>(c));
  }
  return rgba;
}

void expect_near(const PrefixFrames& frames, uint32_t x, uint32_t y, int red, int blue, int tolerance = 6) {
  const uint8_t* pixel = frames.rgb.data() + 3 * (y * frames.width + x);
  EXPECT_NEAR(pixel[0], red, tolerance) << x << ", " << y;
  EXPECT_NEAR(pixel[1], 0, tolerance) << x << ", " << y;
  EXPECT_NEAR(pixel[2], blue, tolerance) << x << ", " << y;
}

// An EXIF block that contains only this orientation.
std::string exif(uint8_t orientation) {
  const char start[] = "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01";
  return std::string(start, sizeof start) + static_cast<char>(orientation) + std::string(6, '\0');
}

std::string number(size_t value, int bytes, bool big_endian = true) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> 8 * (big_endian ? bytes - 1 - i : i));
  return text;
}

std::string with_mark(uint8_t orientation) {
  return std::string("Exif\0\0", 6) + exif(orientation);
}

std::string in_jpeg(const std::string& file, uint8_t orientation) {
  const std::string block = with_mark(orientation);
  return file.substr(0, 2) + "\xff\xe1" + number(block.size() + 2, 2) + block + file.substr(2);
}

uint32_t png_checksum(const std::string& bytes) {
  uint32_t sum = ~uint32_t{0};
  for (const char byte : bytes) {
    sum ^= static_cast<uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) sum = sum >> 1 ^ (sum & 1 ? 0xedb88320u : 0);
  }
  return ~sum;
}

std::string in_png(const std::string& file, uint8_t orientation) {
  const std::string chunk = "eXIf" + exif(orientation);
  constexpr size_t kHeader = 8 + 25;  // the signature and IHDR
  return file.substr(0, kHeader) + number(chunk.size() - 4, 4) + chunk + number(png_checksum(chunk), 4) +
         file.substr(kHeader);
}

std::string in_webp(const std::string& file, uint8_t orientation) {
  const std::string block = with_mark(orientation);
  const std::string canvas = std::string("\x08\0\0\0", 4) + number(63, 3, false) + number(63, 3, false);
  const std::string body = "WEBPVP8X" + number(canvas.size(), 4, false) + canvas + file.substr(12) + "EXIF" +
                           number(block.size(), 4, false) + block +
                           (block.size() % 2 ? std::string(1, '\0') : "");
  return "RIFF" + number(body.size(), 4, false) + body;
}

struct Photo {
  const char* encoder;
  std::string (*with_exif)(const std::string& file, uint8_t orientation);
};
void PrintTo(const Photo& one, std::ostream* out) {
  *out << one.encoder;
}
class Photos : public testing::TestWithParam<Photo> {};

TEST_P(Photos, AreTurnedAsTheirExifSays) {
  const Path path("flowcache-prefix-test.photo");
  ASSERT_TRUE(encode(red_and_blue(64, 64), 64, 64, GetParam().encoder, path));
  g_autofree char* data = nullptr;
  gsize size = 0;
  ASSERT_TRUE(g_file_get_contents(path.get(), &data, &size, nullptr));
  const std::string plain(data, size);
  // Where red, which is on the left in the file, must be shown: TIFF 6.0, "Orientation".
  const std::pair<uint32_t, uint32_t> red_at[] = {{8, 32}, {56, 32}, {56, 32}, {8, 32},
                                                  {32, 8}, {32, 8},  {32, 56}, {32, 56}};
  for (uint8_t orientation = 1; orientation <= 8; ++orientation) {
    const std::string file = GetParam().with_exif(plain, orientation);
    g_file_set_contents(path.get(), file.data(), static_cast<gssize>(file.size()), nullptr);
    std::string error;
    const PrefixFrames frames = load_prefix(path.get(), 64, 64, kGoOn, &error);
    ASSERT_EQ(frames.count, 1u) << error;
    constexpr int kLossy = 24;  // jpegenc confuses two ranges of colours
    const auto [x, y] = red_at[orientation - 1];
    expect_near(frames, x, y, 254, 0, kLossy);
    expect_near(frames, 64 - x, 64 - y, 0, 254, kLossy);
  }
}

// The file is cut at every place, and the block has every value.
TEST_P(Photos, DamagedExifTurnsNothing) {
  const Path path("flowcache-prefix-test.photo");
  ASSERT_TRUE(encode(red_and_blue(64, 64), 64, 64, GetParam().encoder, path));
  g_autofree char* data = nullptr;
  gsize size = 0;
  ASSERT_TRUE(g_file_get_contents(path.get(), &data, &size, nullptr));
  const std::string whole = GetParam().with_exif(std::string(data, size), 6);
  ASSERT_TRUE(g_file_set_contents(path.get(), whole.data(), static_cast<gssize>(whole.size()), nullptr));
  EXPECT_EQ(exif_orientation(path.get()), GST_VIDEO_ORIENTATION_90R);
  for (size_t end = 0; end < std::min<size_t>(whole.size(), 64); ++end) {
    g_file_set_contents(path.get(), whole.data(), static_cast<gssize>(end), nullptr);
    EXPECT_EQ(exif_orientation(path.get()).value_or(GST_VIDEO_ORIENTATION_90R), GST_VIDEO_ORIENTATION_90R);
  }
  const size_t block = whole.find("MM");
  for (size_t at = block; at < block + 26; ++at) {
    std::string file = whole;
    file[at] = '\xff';
    g_file_set_contents(path.get(), file.data(), static_cast<gssize>(file.size()), nullptr);
    const int found = exif_orientation(path.get()).value_or(GST_VIDEO_ORIENTATION_IDENTITY);
    EXPECT_LT(found, GST_VIDEO_ORIENTATION_AUTO) << at;
  }
}

INSTANTIATE_TEST_SUITE_P(Prefix, Photos,
                         testing::Values(Photo{"videoconvert ! jpegenc quality=100", in_jpeg},
                                         Photo{"pngenc", in_png},
                                         Photo{"videoconvert ! webpenc lossless=true", in_webp}));

TEST(Prefix, WhatIsTransparentIsBlack) {
  const Path path("flowcache-prefix-test.png");
  for (const uint8_t alpha : {0, 128, 255}) {
    ASSERT_TRUE(encode(red_and_blue(32, 32, alpha), 32, 32, "pngenc", path));
    std::string error;
    const PrefixFrames frames = load_prefix(path.get(), 64, 64, kGoOn, &error);
    ASSERT_EQ(frames.count, 1u) << error;
    expect_near(frames, 8, 32, 255, 0);
    expect_near(frames, 56, 32, 0, alpha);
  }
}

// Thirds of red, black and blue, one beside the other, with some of every third to be seen through.
std::vector<uint8_t> wide_picture(int width, int height) {
  std::vector<uint8_t> rgba;
  for (int i = 0; i < width * height; ++i) {
    const int third = 3 * (i % width) / width, row = i / width;
    for (const int c : {third == 0 ? 255 : 0, 0, third == 2 ? 255 : 0, 255 - row % 7 * 30})
      rgba.push_back(static_cast<uint8_t>(c));
  }
  return rgba;
}

// What the command makes of a picture (engine/pictures) is what the element makes of it, and also of a file that only
// GStreamer's decoders know.
TEST(Prefix, IsTheSameFrameWhoeverDecodesIt) {
  const Path png("flowcache-prefix-test.png"), webp("flowcache-prefix-test.webp");
  ASSERT_TRUE(encode(wide_picture(90, 40), 90, 40, "pngenc", png));
  ASSERT_TRUE(encode(wide_picture(90, 40), 90, 40, "webpenc lossless=true", webp));
  std::vector<uint8_t> command(3 * 64 * 48);
  ASSERT_EQ(flowcache::read_picture(png.get(), 64, 48, command.data()), "");
  std::string error;
  const PrefixFrames picture = load_prefix(png.get(), 64, 48, kGoOn, &error);
  ASSERT_EQ(picture.count, 1u) << error;
  EXPECT_EQ(picture.rgb, command);
  const PrefixFrames decoded = load_prefix(webp.get(), 64, 48, kGoOn, &error);
  ASSERT_EQ(decoded.count, 1u) << error;
  int most = 0;
  for (size_t i = 0; i < command.size(); ++i) most = std::max(most, std::abs(decoded.rgb[i] - command[i]));
  EXPECT_LE(most, 1);
}

// Of thirds side by side, 96 x 32, a square frame shows the middle one.
TEST(Prefix, AVideoCoversTheFrameToo) {
  const Path path("flowcache-prefix-test.mkv");
  ASSERT_TRUE(encode(wide_picture(96, 32), 96, 32, "videoconvert ! avenc_ffv1 ! matroskamux", path));
  std::string error;
  const PrefixFrames square = load_prefix(path.get(), 64, 64, kGoOn, &error);
  ASSERT_EQ(square.count, 1u) << error;
  for (const uint32_t x : {4u, 32u, 60u}) expect_near(square, x, 32, 0, 0, 8);
  const PrefixFrames whole = load_prefix(path.get(), 192, 64, kGoOn, &error);
  ASSERT_EQ(whole.count, 1u) << error;
  expect_near(whole, 8, 0, 254, 0, 8);
  expect_near(whole, 184, 0, 0, 254, 8);
}

TEST(Prefix, ABitmapIsAnImageToo) {
  const Path path("flowcache-prefix-test.bmp");
  ASSERT_TRUE(encode(red_and_blue(48, 48), 48, 48, "videoconvert ! avenc_bmp", path));
  std::string error;
  const PrefixFrames frames = load_prefix(path.get(), 64, 64, kGoOn, &error);
  ASSERT_EQ(frames.count, 1u) << error;
  expect_near(frames, 8, 32, 255, 0);
  expect_near(frames, 56, 32, 0, 255);
}

TEST(Prefix, VideoReachesTheEngineFrameByFrame) {
  const Path path("flowcache-prefix-test.avi");
  ASSERT_TRUE(
      record("num-buffers=5 ! video/x-raw,width=32,height=32,framerate=30/1 ! jpegenc ! avimux", path));
  Source source("prompt=fire");
  g_object_set(source.element(), "prefix-location", path.get(), nullptr);
  source.play();
  const BufferPtr buffer(source.pull());
  ASSERT_TRUE(buffer);
  std::string error;
  const PrefixFrames frames = load_prefix(path.get(), 64, 48, kGoOn, &error);
  ASSERT_EQ(frames.count, 5u);
  const std::string last = std::to_string(frames.rgb[frames.rgb.size() - 3]);
  EXPECT_EQ(look_at(buffer.get(), source.info()).hash, hash_of("fire + 5x64x48:" + last));
}

std::string refusal(const char* path) {
  std::string error;
  EXPECT_EQ(load_prefix(path, 64, 48, kGoOn, &error).count, 0u);
  return error;
}

TEST(Prefix, FilesThatAreNoPicturesSayWhatIsWrong) {
  EXPECT_NE(refusal("/no/such/file.png").find("cannot be opened"), std::string::npos);
  EXPECT_NE(refusal(g_get_tmp_dir()).find("no regular file"), std::string::npos);
  const Path text("flowcache-prefix-test.txt");
  ASSERT_TRUE(g_file_set_contents(text.get(), "\x01\x02 nothing to see here \xff\xfe\n", -1, nullptr));
  const std::string error = refusal(text.get());
  EXPECT_NE(error.find("no image or video"), std::string::npos) << error;
  EXPECT_NE(error.find("flowcache-prefix-test.txt"), std::string::npos) << error;
}

TEST(Prefix, BadOneIsOneErrorWhileLoadingAndNoStream) {
  Source source("prefix-location=/no/such/file.png");
  source.play();
  const MessagePtr error(source.message(GST_MESSAGE_ERROR));
  ASSERT_TRUE(error);
  EXPECT_NE(text_of(error.get()).find("/no/such/file.png"), std::string::npos);
  EXPECT_EQ(stat(source.element(), "chunks"), 0u);
}

TEST(Prefix, ReadingCanBeCancelled) {
  const Path path("flowcache-prefix-test.png");
  ASSERT_TRUE(record("num-buffers=1 ! pngenc", path));
  std::string error;
  EXPECT_EQ(load_prefix(
                path.get(), 64, 48, [] { return false; }, &error)
                .count,
            0u);
  EXPECT_NE(error, "");
}

}  // namespace
