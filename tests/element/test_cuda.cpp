// SPDX-License-Identifier: LGPL-2.1-or-later
// Frames in CUDA memory, with a stand-in for the driver that checks and counts the calls.
#include "cuda_test.h"

using namespace cuda_test;

namespace {

TEST_F(Cuda, EveryFormatFromAnEngineOnTheCpu) {
  NEEDS_NVCODEC();
  for (const char* size : {"width=64,height=48", "width=63,height=47"}) {
    for (const char* format : {"NV12", "RGBA", "I420"}) {
      SCOPED_TRACE(std::string(format) + " " + size);
      const int uploads = ask("fake_cuda_copies_to_device");
      const Played played = play(std::string("model=fake:") + size, in_cuda(format));
      expect_nine_frames(played);
      EXPECT_EQ(played.memory_path, "cuda-upload");
      EXPECT_GE(ask("fake_cuda_copies_to_device") - uploads, 9);
    }
  }
}

TEST_F(Cuda, EveryFormatFromAnEngineOnTheDevice) {
  NEEDS_NVCODEC();
  for (const char* format : {"NV12", "RGBA", "I420"}) {
    SCOPED_TRACE(format);
    const int uploads = ask("fake_cuda_copies_to_device"), copies = ask("fake_cuda_copies_on_device");
    const Played played = play("model=fake:cuda=1,width=63,height=47", in_cuda(format));
    expect_nine_frames(played);
    EXPECT_EQ(played.memory_path, "cuda");
    EXPECT_EQ(played.context_copies, 0u);
    EXPECT_EQ(ask("fake_cuda_copies_to_device"), uploads);
    EXPECT_EQ(ask("fake_cuda_copies_on_device"), copies);
  }
}

// If the engine cannot write CUDA memory, frames are uploaded.
TEST_F(Cuda, EngineThatRefusesCudaMemoryIsUploadedFrom) {
  NEEDS_NVCODEC();
  const Played played = play("model=fake:cuda=2", in_cuda("NV12"));
  expect_nine_frames(played);
  EXPECT_EQ(played.memory_path, "cuda-upload");
}

TEST_F(Cuda, SystemMemoryWhereAnythingGoes) {
  for (const char* rest : {"identity", "videoconvert ! video/x-raw,format=RGBA", "video/x-raw"}) {
    const Played played = play("model=fake:cuda=1", rest);
    expect_nine_frames(played);
    EXPECT_EQ(played.memory_path, "system") << rest;
  }
}

TEST_F(Cuda, CudaIsPreferredByWhoeverNamesIt) {
  NEEDS_NVCODEC();
  const Played played = play("model=fake:cuda=1", "cudadownload ! video/x-raw");
  expect_nine_frames(played);
  EXPECT_EQ(played.memory_path, "cuda");
}

bool have_gl() {
  static const bool works = run_to_end("gltestsrc num-buffers=1 ! gldownload ! fakesink") == "";
  return works;
}

constexpr const char* kTextures = "video/x-raw(memory:GLMemory) ! gldownload ! video/x-raw,format=RGBA";

// While this exists, OpenGL counts as running on the stand-in's device.
struct GlOnDevice {
  GlOnDevice() { driver.get<void(int)>("fake_cuda_put_gl_on_device")(1); }
  ~GlOnDevice() { driver.get<void(int)>("fake_cuda_put_gl_on_device")(0); }
};

TEST_F(Cuda, TexturesAreWrittenByTheEngineOnTheDevice) {
  if (!have_gl()) GTEST_SKIP() << "no OpenGL on this machine";
  const GlOnDevice gl;
  const Played played = play("model=fake:cuda=1,width=63,height=47", kTextures);
  expect_nine_frames(played);
  EXPECT_EQ(played.memory_path, "cuda-gl");
}

TEST_F(Cuda, TexturesAreUploadedIfOpenGlIsElsewhereOrTheEngineOnTheCpu) {
  if (!have_gl()) GTEST_SKIP() << "no OpenGL on this machine";
  const Played elsewhere = play("model=fake:cuda=1", kTextures);
  expect_nine_frames(elsewhere);
  EXPECT_EQ(elsewhere.memory_path, "gl-upload");
  const GlOnDevice gl;
  const Played on_cpu = play("model=fake", kTextures);
  expect_nine_frames(on_cpu);
  EXPECT_EQ(on_cpu.memory_path, "gl-upload");
}

TEST_F(Cuda, RenegotiationOnTheFly) {
  Source source("model=fake:cuda=1 max-chunks-ahead=8", "video/x-raw,format=NV12");
  source.play();
  GstClockTime before = GST_CLOCK_TIME_NONE;
  const auto take = [&](int frames) {
    for (int i = 0; i < frames; ++i) {
      const BufferPtr buffer(source.pull());
      ASSERT_TRUE(buffer);
      if (GST_CLOCK_TIME_IS_VALID(before)) {
        EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), before + kFrame);
      }
      before = GST_BUFFER_PTS(buffer.get());
    }
  };
  const auto path = [&] { return path_of(source.element()); };
  take(3);
  EXPECT_EQ(path(), "system");
  gst_harness_set_sink_caps_str(source.harness(), "video/x-raw(memory:CUDAMemory),format=RGBA");
  take(6);
  EXPECT_EQ(path(), "cuda");
  gst_harness_set_sink_caps_str(source.harness(), "video/x-raw,format=I420");
  take(6);
  EXPECT_EQ(path(), "system");
}

TEST_F(Cuda, EveryMemoryAfterEveryOther) {
  if (!have_gl()) GTEST_SKIP() << "no OpenGL on this machine";
  const GlOnDevice gl;
  struct Memory {
    const char* caps;
    const char* path;
  };
  const Memory memories[] = {{"video/x-raw,format=NV12", "system"},
                             {"video/x-raw(memory:CUDAMemory),format=NV12", "cuda"},
                             {"video/x-raw(memory:GLMemory),texture-target=2D,format=RGBA", "cuda-gl"},
                             {"video/x-raw(memory:CUDAMemory),format=I420", "cuda"},
                             {"video/x-raw,format=RGBA", "system"},
                             {"video/x-raw(memory:GLMemory),texture-target=2D,format=RGBA", "cuda-gl"},
                             {"video/x-raw,format=I420", "system"}};
  Source source("model=fake:cuda=1,width=63,height=47 max-chunks-ahead=8", memories[0].caps);
  source.play();
  uint32_t number = 0;
  for (const Memory& memory : memories) {
    SCOPED_TRACE(memory.caps);
    gst_harness_set_sink_caps_str(source.harness(), memory.caps);
    for (int i = 0; i < 5; ++i) {  // one frame may already be on its way
      const BufferPtr buffer(source.pull());
      ASSERT_TRUE(buffer);
      EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), number * kFrame);
      if (i > 1) {
        EXPECT_EQ(look_at(buffer.get(), source.info()).number, number);
      }
      ++number;
    }
    EXPECT_EQ(path_of(source.element()), memory.path);
  }
}

TEST_F(Cuda, MemoryOfTheDeviceIsInTheStatistics) {
  Source source("model=fake:cuda=1", "video/x-raw(memory:CUDAMemory)");
  source.play();
  const BufferPtr buffer(source.pull());
  ASSERT_TRUE(buffer);
  EXPECT_EQ(stat(source.element(), "gpu-memory-total"), guint64{1} << 30);
  EXPECT_GT(stat(source.element(), "gpu-memory-used"), 0u);
}

TEST_F(Cuda, FailedAllocationIsOneErrorAndNoCrash) {
  driver.get<void(int)>("fake_cuda_fail_allocations")(1);
  {
    Source source("model=fake:cuda=1 is-live=false", "video/x-raw(memory:CUDAMemory)");
    source.play();
    EXPECT_TRUE(MessagePtr(source.message(GST_MESSAGE_ERROR)));
  }
  driver.get<void(int)>("fake_cuda_fail_allocations")(0);
}

TEST_F(Cuda, CapsNameItWithADriver) {
  Source source("model=fake");
  gst_element_set_state(source.element(), GST_STATE_READY);
  GstPad* pad = gst_element_get_static_pad(source.element(), "src");
  GstCaps* caps = gst_pad_query_caps(pad, nullptr);
  g_autofree char* text = gst_caps_to_string(caps);
  EXPECT_NE(std::string(text).find("memory:CUDAMemory"), std::string::npos) << text;
  gst_caps_unref(caps);
  gst_object_unref(pad);
}

}  // namespace
