// SPDX-License-Identifier: LGPL-2.1-or-later
// The engine of this build and the model that ships, with memory of the stand-in for NVIDIA's driver.
#include "cuda_test.h"

using namespace cuda_test;

namespace {

constexpr const char* kEngine = FLOWCACHE_BUILD_DIR "/engine/libflowcache.so.0";

class CudaEngine : public Cuda {
 protected:
  void SetUp() override {
    if (!g_file_test(kEngine, G_FILE_TEST_EXISTS)) GTEST_SKIP() << "the engine is not built: " << kEngine;
    if (!have("cudadownload"))
      GTEST_SKIP() << "no cudadownload: gstreamer1.0-plugins-bad is built without nvcodec";
    Cuda::SetUp();
  }
  ScopedEnv no_fake_{"FLOWCACHE_ENGINE", ""};
};

using Bytes = std::vector<std::vector<uint8_t>>;

// The first three frames in system memory. *path: the memory path that was used.
Bytes frames_through(const std::string& device, const std::string& rest, std::string* path) {
  const std::string line =
      "flowcachesrc name=s is-live=false num-buffers=3 steps=1 seed=5 prompt=fire device=" + device + " ! " +
      rest + " ! appsink name=k sync=false";
  GError* error = nullptr;
  GstElement* pipeline = gst_parse_launch(line.c_str(), &error);
  if (error != nullptr) g_error("%s", error->message);
  GstElement* source = gst_bin_get_by_name(GST_BIN(pipeline), "s");
  GstElement* sink = gst_bin_get_by_name(GST_BIN(pipeline), "k");
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  Bytes frames;
  while (GstSample* sample = gst_app_sink_pull_sample(GST_APP_SINK(sink))) {
    GstMapInfo map;
    gst_buffer_map(gst_sample_get_buffer(sample), &map, GST_MAP_READ);
    frames.emplace_back(map.data, map.data + map.size);
    gst_buffer_unmap(gst_sample_get_buffer(sample), &map);
    gst_sample_unref(sample);
  }
  *path = path_of(source);
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(sink);
  gst_object_unref(source);
  gst_object_unref(pipeline);
  return frames;
}

// There is a driver, but no device that LibTorch could use. So `auto` is the CPU, and frames have the same
// bytes in every kind of memory.
TEST_F(CudaEngine, FramesAreTheSameInCudaMemory) {
  for (const char* format : {"NV12", "RGBA", "I420"}) {
    SCOPED_TRACE(format);
    std::string path;
    const Bytes want = frames_through("cpu", std::string("video/x-raw,format=") + format, &path);
    EXPECT_EQ(path, "system");
    const int uploads = ask("fake_cuda_copies_to_device");
    const Bytes got = frames_through("auto", in_cuda(format), &path);
    EXPECT_EQ(path, "cuda-upload");
    ASSERT_EQ(want.size(), 3u);
    EXPECT_EQ(got, want);
    EXPECT_GE(ask("fake_cuda_copies_to_device") - uploads, 3);
  }
}

TEST_F(CudaEngine, DeviceThatLibTorchCannotUseIsAnErrorNeverTheCpu) {
  const std::string error = run_to_end("flowcachesrc device=cuda ! fakesink");
  EXPECT_NE(error.find("device \"cuda\" cannot be used"), std::string::npos) << error;
}

}  // namespace
