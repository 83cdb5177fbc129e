// SPDX-License-Identifier: LGPL-2.1-or-later
// An image or a video that the stream goes on from.
#include <glib/gstdio.h>

#include "../../gst-plugin/prefix.h"
#include "element_test.h"

using namespace element_test;
using flowcache::gst::load_prefix;
using flowcache::gst::PrefixFrames;

namespace {

/// A file in the folder for temporary ones, removed with the object.
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

/// A file with a picture of `height` rows of RGBA, made by an encoder of GStreamer's.
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

/// Its left half red, its right half blue.
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

/// An EXIF block that says nothing but this orientation.
std::string exif(uint8_t orientation) {
  const char start[] =
      "\xff\xe1\x00\x22"
      "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01";
  return std::string(start, sizeof start) + static_cast<char>(orientation) + std::string(6, '\0');
}

TEST(Prefix, PhotosAreTurnedAsTheirExifSays) {
  const Path path("flowcache-prefix-test.jpg");
  ASSERT_TRUE(encode(red_and_blue(64, 64), 64, 64, "videoconvert ! jpegenc quality=100", path));
  g_autofree char* data = nullptr;
  gsize size = 0;
  ASSERT_TRUE(g_file_get_contents(path.get(), &data, &size, nullptr));
  const std::string jpeg(data, size);
  const auto load = [&](uint8_t orientation) {
    const std::string turned = jpeg.substr(0, 2) + exif(orientation) + jpeg.substr(2);
    g_file_set_contents(path.get(), turned.data(), static_cast<gssize>(turned.size()), nullptr);
    std::string error;
    PrefixFrames frames = load_prefix(path.get(), 64, 64, kGoOn, &error);
    EXPECT_EQ(error, "");
    return frames;
  };
  const PrefixFrames upright = load(1), mirrored = load(2), quarter = load(6), other_quarter = load(8);
  for (const auto* one : {&upright, &mirrored, &quarter, &other_quarter}) ASSERT_EQ(one->count, 1u);
  constexpr int kJpeg = 24;  // its encoder takes one range of colours for another
  expect_near(upright, 8, 32, 254, 0, kJpeg);
  expect_near(mirrored, 8, 32, 0, 254, kJpeg);
  expect_near(quarter, 32, 8, 254, 0, kJpeg);  // left becomes top
  expect_near(quarter, 32, 56, 0, 254, kJpeg);
  expect_near(other_quarter, 32, 8, 0, 254, kJpeg);
}

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
