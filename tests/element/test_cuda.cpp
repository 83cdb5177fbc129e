// SPDX-License-Identifier: LGPL-2.1-or-later
// Frames in CUDA memory, on a stand-in for the driver that refuses and counts what a real one would.
#include <dlfcn.h>
#include <gst/app/gstappsink.h>
#include <gst/cuda/gstcudabufferpool.h>
#include <gst/cuda/gstcudaloader.h>
#include <gst/cuda/gstcudautils.h>

#include "../fake_cuda/fake_cuda.h"
#include "element_test.h"

using namespace element_test;

namespace {

/// The stand-ins, loaded before anybody looks for the real ones, and so taken for them.
struct Driver {
  void* cuda = dlopen(FLOWCACHE_BUILD_DIR "/tests/fake_cuda/libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
  void* cuvid = dlopen(FLOWCACHE_BUILD_DIR "/tests/fake_cuda/libnvcuvid.so.1", RTLD_NOW | RTLD_GLOBAL);

  template <typename Function>
  Function* get(const char* name) const {
    return reinterpret_cast<Function*>(dlsym(cuda, name));
  }
};
const Driver driver;

int ask(const char* name) {
  return driver.get<int()>(name)();
}

class Cuda : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(driver.cuda, nullptr);
    contexts_ = ask("fake_cuda_live_contexts");
    ASSERT_EQ(ask("fake_cuda_live_allocations"), 0);
  }
  /// Nothing is left over, and nothing was done that a driver would refuse.
  void TearDown() override {
    EXPECT_EQ(ask("fake_cuda_live_allocations"), 0);
    EXPECT_EQ(ask("fake_cuda_live_contexts"), contexts_);
    EXPECT_EQ(ask("fake_cuda_misuses"), 0) << driver.get<const char*()>("fake_cuda_first_misuse")();
  }

  int contexts_ = 0;
};

bool have(const char* element) {
  GstElementFactory* factory = gst_element_factory_find(element);
  if (factory == nullptr) return false;
  gst_object_unref(factory);
  return true;
}

#define NEEDS_NVCODEC()      \
  if (!have("cudadownload")) \
  GTEST_SKIP() << "no cudadownload: gstreamer1.0-plugins-bad is built without nvcodec"

struct Played {
  std::vector<Seen> frames;
  std::string memory_path;
  guint64 context_copies = 0;
  int contexts = 0, warnings = 0;
};

/// Plays a pipeline whose source is named s and whose sink is an appsink named k.
Played play(const std::string& source_options, const std::string& rest, GstContext* context = nullptr) {
  const std::string line = "flowcachesrc name=s is-live=false num-buffers=9 prompt=fire " + source_options +
                           " ! " + rest + " ! appsink name=k sync=false";
  GError* error = nullptr;
  GstElement* pipeline = gst_parse_launch(line.c_str(), &error);
  if (error != nullptr) g_error("%s", error->message);
  if (context != nullptr) gst_element_set_context(pipeline, context);
  GstElement* source = gst_bin_get_by_name(GST_BIN(pipeline), "s");
  GstElement* sink = gst_bin_get_by_name(GST_BIN(pipeline), "k");
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  Played played;
  while (GstSample* sample = gst_app_sink_try_pull_sample(GST_APP_SINK(sink), 20 * GST_SECOND)) {
    played.frames.push_back(look_at(sample));
    played.contexts = ask("fake_cuda_live_contexts");
    gst_sample_unref(sample);
  }
  GstStructure* stats = nullptr;
  g_object_get(source, "stats", &stats, nullptr);
  played.memory_path = gst_structure_get_string(stats, "memory-path");
  gst_structure_free(stats);
  played.context_copies = stat(source, "context-copies");
  GstBus* bus = gst_element_get_bus(pipeline);
  while (GstMessage* message = gst_bus_pop_filtered(bus, GST_MESSAGE_WARNING)) {
    ++played.warnings;
    gst_message_unref(message);
  }
  gst_object_unref(bus);
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(sink);
  gst_object_unref(source);
  gst_object_unref(pipeline);
  return played;
}

void expect_nine_frames(const Played& played) {
  ASSERT_EQ(played.frames.size(), 9u);
  for (uint32_t i = 0; i < 9; ++i) {
    EXPECT_EQ(played.frames[i].number, i);
    EXPECT_EQ(played.frames[i].hash, hash_of("fire"));
  }
}

constexpr const char* kDownload = "cudadownload ! ";

std::string in_cuda(const std::string& format) {
  return "video/x-raw(memory:CUDAMemory),format=" + format + " ! " + kDownload +
         "video/x-raw,format=" + format;
}

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

/// An engine without kernels for CUDA memory still plays.
TEST_F(Cuda, EngineThatRefusesCudaMemoryIsUploadedFrom) {
  NEEDS_NVCODEC();
  const Played played = play("model=fake:cuda=2", in_cuda("NV12"));
  expect_nine_frames(played);
  EXPECT_EQ(played.memory_path, "cuda-upload");
}

TEST_F(Cuda, DownstreamSharesTheEnginesContext) {
  NEEDS_NVCODEC();
  const Played played = play("model=fake:cuda=1", in_cuda("NV12"));
  EXPECT_EQ(played.contexts, contexts_ + 1);
}

TEST_F(Cuda, ForeignContextCostsOneCopyOneWarningAndIsCounted) {
  NEEDS_NVCODEC();
  ASSERT_TRUE(gst_cuda_load_library());
  GstCudaContext* foreign = gst_cuda_context_new(0);
  ASSERT_NE(foreign, nullptr);
  GstContext* context = gst_context_new_cuda_context(foreign);
  const int copies = ask("fake_cuda_copies_on_device");
  const Played played = play("model=fake:cuda=1", in_cuda("NV12"), context);
  expect_nine_frames(played);
  EXPECT_EQ(played.memory_path, "cuda-copy");
  EXPECT_EQ(played.context_copies, 9u);
  EXPECT_EQ(played.warnings, 1);
  EXPECT_EQ(ask("fake_cuda_copies_on_device") - copies, 2 * 9);  // two planes
  gst_context_unref(context);
  gst_object_unref(foreign);
}

/// As an encoder that was opened before the source: it knows no context but its own, and offers a pool of it.
GstPadProbeReturn offer_own_pool(GstPad*, GstPadProbeInfo* info, gpointer context) {
  GstQuery* query = GST_PAD_PROBE_INFO_QUERY(info);
  if (GST_QUERY_TYPE(query) != GST_QUERY_ALLOCATION) return GST_PAD_PROBE_OK;
  GstBufferPool* pool = gst_cuda_buffer_pool_new(GST_CUDA_CONTEXT(context));
  gst_query_add_allocation_pool(query, pool, 64 * 48 * 3 / 2, 2, 0);
  gst_query_add_allocation_meta(query, GST_VIDEO_META_API_TYPE, nullptr);
  gst_object_unref(pool);
  return GST_PAD_PROBE_HANDLED;
}

TEST_F(Cuda, DownstreamsPoolIsUsedAlsoOfAnotherContext) {
  ASSERT_TRUE(gst_cuda_load_library());
  GstCudaContext* foreign = gst_cuda_context_new(0);
  {
    Source source("model=fake:cuda=1", "video/x-raw(memory:CUDAMemory),format=NV12");
    gst_pad_add_probe(
        source.harness()->sinkpad,
        static_cast<GstPadProbeType>(GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM | GST_PAD_PROBE_TYPE_PUSH),
        offer_own_pool, foreign, nullptr);
    source.play();
    for (uint32_t i = 0; i < 3; ++i) {
      const BufferPtr buffer(source.pull());
      ASSERT_TRUE(buffer);
      GstMemory* memory = gst_buffer_peek_memory(buffer.get(), 0);
      ASSERT_TRUE(gst_is_cuda_memory(memory));
      EXPECT_EQ(GST_CUDA_MEMORY_CAST(memory)->context, foreign);
      EXPECT_EQ(look_at(buffer.get(), source.info()).number, i);
    }
    EXPECT_GE(stat(source.element(), "context-copies"), 3u);
  }
  gst_object_unref(foreign);
}

TEST_F(Cuda, ForeignContextIsNothingToAnEngineOnTheCpu) {
  NEEDS_NVCODEC();
  GstCudaContext* foreign = gst_cuda_context_new(0);
  GstContext* context = gst_context_new_cuda_context(foreign);
  const Played played = play("model=fake", in_cuda("NV12"), context);
  expect_nine_frames(played);
  EXPECT_EQ(played.memory_path, "cuda-upload");
  EXPECT_EQ(played.context_copies, 0u);
  EXPECT_EQ(played.warnings, 0);
  gst_context_unref(context);
  gst_object_unref(foreign);
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

TEST_F(Cuda, ModelOnTheCpuMakesNoContextForNobody) {
  Source source("model=fake device=cpu");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_EQ(ask("fake_cuda_live_contexts"), contexts_);
}

TEST_F(Cuda, TwentyRestartsLeaveNothing) {
  NEEDS_NVCODEC();
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(run_to_end("flowcachesrc model=fake:cuda=1 is-live=false num-buffers=3 ! "
                         "video/x-raw(memory:CUDAMemory) ! cudadownload ! fakesink"),
              "");
    ASSERT_EQ(ask("fake_cuda_live_contexts"), contexts_);
    ASSERT_EQ(ask("fake_cuda_live_allocations"), 0);
  }
}

/// One element through READY again and again: what it holds between is its context only.
TEST_F(Cuda, RestartsOfOneElement) {
  Source source("model=fake:cuda=1", "video/x-raw(memory:CUDAMemory)");
  for (int i = 0; i < 5; ++i) {
    source.play();
    ASSERT_TRUE(BufferPtr(source.pull()));
    gst_element_set_state(source.element(), GST_STATE_READY);
    while (BufferPtr left{gst_harness_try_pull(source.harness())}) {
    }
  }
}

/// A buffer that outlives the element keeps the context that its memory lives in.
TEST_F(Cuda, BufferMayOutliveTheElement) {
  BufferPtr kept;
  {
    Source source("model=fake:cuda=1", "video/x-raw(memory:CUDAMemory)");
    source.play();
    kept.reset(source.pull());
    ASSERT_TRUE(kept);
  }
  EXPECT_EQ(ask("fake_cuda_live_contexts"), contexts_ + 1);
  EXPECT_GE(ask("fake_cuda_live_allocations"), 1);
}

bool have_gl() {
  static const bool works = run_to_end("gltestsrc num-buffers=1 ! gldownload ! fakesink") == "";
  return works;
}

constexpr const char* kTextures = "video/x-raw(memory:GLMemory) ! gldownload ! video/x-raw,format=RGBA";

/// OpenGL counts as being on the stand-in's device for as long as this lives.
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
  const auto path = [&] {
    GstStructure* stats = nullptr;
    g_object_get(source.element(), "stats", &stats, nullptr);
    const std::string name = gst_structure_get_string(stats, "memory-path");
    gst_structure_free(stats);
    return name;
  };
  take(3);
  EXPECT_EQ(path(), "system");
  gst_harness_set_sink_caps_str(source.harness(), "video/x-raw(memory:CUDAMemory),format=RGBA");
  take(6);
  EXPECT_EQ(path(), "cuda");
  gst_harness_set_sink_caps_str(source.harness(), "video/x-raw,format=I420");
  take(6);
  EXPECT_EQ(path(), "system");
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
