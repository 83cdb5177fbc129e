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
