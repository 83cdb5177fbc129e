// SPDX-License-Identifier: LGPL-2.1-or-later
// Formats and sizes, with all kinds of downstream elements.
#include <dlfcn.h>

#include "../fake/fake_paint.h"
#include "element_test.h"

using namespace element_test;

namespace {

std::string caps_of(Source& source) {
  GstPad* pad = gst_element_get_static_pad(source.element(), "src");
  GstCaps* caps = gst_pad_get_current_caps(pad);
  g_autofree char* text = gst_caps_to_string(caps);
  gst_caps_unref(caps);
  gst_object_unref(pad);
  return text;
}

TEST(Caps, AnyDownstreamGetsTheFirstFormat) {
  Source source("");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  const std::string caps = caps_of(source);
  for (const char* part : {"NV12", "width=(int)64", "height=(int)48", "framerate=(fraction)16/1", "bt709",
                           "mpeg2", "progressive", "pixel-aspect-ratio=(fraction)1/1"}) {
    EXPECT_NE(caps.find(part), std::string::npos) << part << " in " << caps;
  }
}

struct Case {
  const char* sink_caps;
  const char* format;
};
void PrintTo(const Case& one, std::ostream* out) {
  *out << one.sink_caps;
}
class Formats : public testing::TestWithParam<Case> {};

TEST_P(Formats, AreFoundAndRight) {
  Source source("prompt=fire", GetParam().sink_caps);
  source.play();
  for (uint32_t i = 0; i < 5; ++i) {
    const BufferPtr buffer(source.pull());
    ASSERT_TRUE(buffer);
    const Seen seen = look_at(buffer.get(), source.info());
    EXPECT_EQ(seen.number, i);
    EXPECT_EQ(seen.hash, hash_of("fire"));
  }
  EXPECT_NE(caps_of(source).find(GetParam().format), std::string::npos) << caps_of(source);
}

INSTANTIATE_TEST_SUITE_P(
    Downstream, Formats,
    testing::Values(Case{"ANY", "NV12"}, Case{"video/x-raw", "NV12"}, Case{"video/x-raw,format=RGBA", "RGBA"},
                    Case{"video/x-raw,format=I420", "I420"}, Case{"video/x-raw,format=NV12", "NV12"},
                    Case{"video/x-raw,format={I420,YV12}", "I420"},
                    Case{"video/x-raw,format={BGRA,RGBA}", "sRGB"},
                    Case{"video/x-raw,width=[1,4096],height=[1,4096],framerate=[0/1,120/1]", "NV12"},
                    Case{"video/x-raw(ANY)", "NV12"}, Case{"video/x-raw,format=RGBA;video/x-raw", "NV12"}));

// Compares every pixel of every format with the fake engine's picture, at an odd size, where planes are
// padded.
TEST(Caps, OddSizesArePaintedExactly) {
  for (const char* format : {"RGBA", "NV12", "I420"}) {
    Source source("prompt=fire seed=5 model=fake:width=63,height=47",
                  (std::string("video/x-raw,format=") + format).c_str());
    source.play();
    const BufferPtr buffer(source.pull());
    ASSERT_TRUE(buffer);
    const GstVideoInfo info = source.info();
    GstVideoFrame frame;
    ASSERT_TRUE(gst_video_frame_map(&frame, &info, buffer.get(), GST_MAP_READ));
    const fake::Picture picture{63, 47, 0, hash_of("fire"), 5};
    const bool rgb = GST_VIDEO_INFO_IS_RGB(&info);
    int wrong = 0;
    for (int component = 0; component < 3; ++component) {
      const auto* data = static_cast<const uint8_t*>(GST_VIDEO_FRAME_COMP_DATA(&frame, component));
      const int half = !rgb && component > 0 ? 2 : 1;
      for (int y = 0; y < (47 + half - 1) / half; ++y) {
        for (int x = 0; x < (63 + half - 1) / half; ++x) {
          const auto pixel = picture.pixel(x * half, y * half);
          const uint8_t wanted = rgb ? pixel[component] : fake::yuv_of(pixel)[component];
          wrong += wanted != data[y * GST_VIDEO_FRAME_COMP_STRIDE(&frame, component) +
                                  x * GST_VIDEO_FRAME_COMP_PSTRIDE(&frame, component)];
        }
      }
    }
    gst_video_frame_unmap(&frame);
    EXPECT_EQ(wrong, 0) << format;
  }
}

struct Refusal {
  const char* sink_caps;
  const char* field;
};
void PrintTo(const Refusal& one, std::ostream* out) {
  *out << one.sink_caps;
}
class Refusals : public testing::TestWithParam<Refusal> {};

TEST_P(Refusals, NameTheFieldAndBothValues) {
  Source source("", GetParam().sink_caps);
  source.play();
  const MessagePtr message(source.message(GST_MESSAGE_ERROR));
  ASSERT_TRUE(message);
  const std::string error = text_of(message.get());
  EXPECT_NE(error.find(GetParam().field), std::string::npos) << error;
  EXPECT_NE(error.find("videoscale"), std::string::npos) << error;  // the remedy
}

INSTANTIATE_TEST_SUITE_P(
    Fields, Refusals,
    testing::Values(
        Refusal{"video/x-raw,width=640", "width: the model gives 64, downstream accepts 640"},
        Refusal{"video/x-raw,height=1080", "height: the model gives 48, downstream accepts 1080"},
        Refusal{"video/x-raw,framerate=30/1",
                "framerate: the model gives 16/1 or a whole multiple, up to 112/1, downstream accepts 30/1"},
        Refusal{"video/x-raw,format=YUY2", "format: the model gives"},
        Refusal{"video/x-raw,interlace-mode=interleaved", "interlace-mode: the model gives progressive"},
        Refusal{"video/x-raw,pixel-aspect-ratio=2/1", "pixel-aspect-ratio: the model gives 1/1"},
        Refusal{"video/x-raw,format=NV12,colorimetry=bt601", "colorimetry: the model gives bt709"},
        Refusal{"audio/x-raw", "media type: the model gives video/x-raw"},
        Refusal{"video/x-raw(memory:DMABuf)", "memory:DMABuf"}));

// With a stand-in for the driver: test_cuda.cpp.
TEST(Caps, WithoutADriverThereIsNoCudaMemory) {
  if (void* driver = dlopen("libcuda.so.1", RTLD_NOW)) {
    dlclose(driver);
    GTEST_SKIP() << "this machine has an NVIDIA driver";
  }
  Source source("");
  GstPad* pad = gst_element_get_static_pad(source.element(), "src");
  for (const GstState state : {GST_STATE_NULL, GST_STATE_READY}) {
    gst_element_set_state(source.element(), state);
    GstCaps* caps = gst_pad_query_caps(pad, nullptr);
    g_autofree char* text = gst_caps_to_string(caps);
    EXPECT_EQ(std::string(text).find("CUDAMemory"), std::string::npos) << text;
    gst_caps_unref(caps);
  }
  gst_object_unref(pad);
  EXPECT_NE(run_to_end("flowcachesrc model=fake ! video/x-raw(memory:CUDAMemory) ! fakesink")
                .find("memory:CUDAMemory"),
            std::string::npos);
}

TEST(Caps, RefusalEndsAPipelineWithTheSameSentence) {
  const std::string error = run_to_end("flowcachesrc model=fake ! video/x-raw,width=640 ! fakesink");
  EXPECT_NE(error.find("width: the model gives 64"), std::string::npos) << error;
}

TEST(Caps, ConvertersMakeAnySizeAndRate) {
  EXPECT_EQ(run_to_end("flowcachesrc model=fake num-buffers=5 ! videoscale ! videorate ! videoconvert ! "
                       "video/x-raw,format=YUY2,width=128,height=96,framerate=30/1 ! fakesink"),
            "");
}

struct SizeCase {
  const char* sink_caps;
  int width, height;
};
void PrintTo(const SizeCase& one, std::ostream* out) {
  *out << one.sink_caps;
}
class Sizes : public testing::TestWithParam<SizeCase> {};

// The native size is 64 x 48. Other sizes are multiples of 8 from 32 x 24 to 128 x 96.
TEST_P(Sizes, AreWhatDownstreamAsksFor) {
  Source source("prompt=fire model=fake:size_step=8", GetParam().sink_caps);
  source.play();
  const BufferPtr buffer(source.pull());
  ASSERT_TRUE(buffer);
  const GstVideoInfo info = source.info();
  EXPECT_EQ(GST_VIDEO_INFO_WIDTH(&info), GetParam().width);
  EXPECT_EQ(GST_VIDEO_INFO_HEIGHT(&info), GetParam().height);
  EXPECT_EQ(gst_buffer_get_size(buffer.get()), info.size);
  EXPECT_EQ(look_at(buffer.get(), info).hash, hash_of("fire")) << "the engine draws that size";
}

INSTANTIATE_TEST_SUITE_P(Downstream, Sizes,
                         testing::Values(SizeCase{"ANY", 64, 48},
                                         SizeCase{"video/x-raw,width=96,height=72", 96, 72},
                                         SizeCase{"video/x-raw,width=96", 96, 72},
                                         SizeCase{"video/x-raw,height=24", 32, 24},
                                         SizeCase{"video/x-raw,width=[1,60],height=[1,4096]", 56, 40},
                                         SizeCase{"video/x-raw,format=RGBA,width=128,height=32", 128, 32},
                                         SizeCase{"video/x-raw,width=640;video/x-raw,width=40", 40, 32}));

TEST(Caps, ASizeBetweenTheStepsNamesTheNearest) {
  const std::pair<const char*, const char*> cases[] = {
      {"width=70",
       "width: the model gives 32 to 128 in steps of 8, downstream accepts 70 (nearest: 64 and 72)"},
      {"width=640", "downstream accepts 640 (nearest: 128)"},
      {"height=8", "height: the model gives 24 to 96 in steps of 8, downstream accepts 8 (nearest: 24)"}};
  for (const auto& [wanted, says] : cases) {
    const std::string error = run_to_end("flowcachesrc model=fake:size_step=8 ! video/x-raw," +
                                         std::string(wanted) + " ! fakesink");
    EXPECT_NE(error.find(says), std::string::npos) << error;
  }
}

// The worker has begun with this size.
TEST(Caps, TheSizeStaysUntilReady) {
  Source source("model=fake:size_step=8 max-chunks-ahead=8", "video/x-raw,width=96,height=72");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  GstPad* pad = gst_element_get_static_pad(source.element(), "src");
  const auto offers = [&](const char* text) {
    GstCaps* filter = gst_caps_from_string(text);
    GstCaps* caps = gst_pad_query_caps(pad, filter);
    const bool some = !gst_caps_is_empty(caps);
    gst_caps_unref(caps);
    gst_caps_unref(filter);
    return some;
  };
  EXPECT_FALSE(offers("video/x-raw,width=64"));
  EXPECT_TRUE(offers("video/x-raw,width=96,height=72,format=RGBA"));
  gst_element_set_state(source.element(), GST_STATE_READY);
  gst_harness_set_sink_caps_str(source.harness(), "video/x-raw,width=32");
  source.play();
  const BufferPtr again(source.pull());
  ASSERT_TRUE(again);
  EXPECT_EQ(source.info().width, 32);
  gst_object_unref(pad);
}

// Downstream may ask for other caps while the stream runs; the numbers of the frames continue.
TEST(Caps, RenegotiationOnTheFly) {
  Source source("max-chunks-ahead=8", "video/x-raw,format=NV12");
  source.play();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  gst_harness_set_sink_caps_str(source.harness(), "video/x-raw,format=RGBA");
  GstClockTime before = 2 * kFrame;
  bool changed = false;
  for (int i = 3; i < 10; ++i) {
    const BufferPtr buffer(source.pull());
    ASSERT_TRUE(buffer);
    EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), before + kFrame);
    before = GST_BUFFER_PTS(buffer.get());
    changed = changed || gst_buffer_get_size(buffer.get()) == 64 * 48 * 4;
  }
  EXPECT_TRUE(changed);
}

}  // namespace
