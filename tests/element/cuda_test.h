// SPDX-License-Identifier: LGPL-2.1-or-later
// Tools for tests with the stand-in for NVIDIA's driver.
#pragma once

#include <dlfcn.h>
#include <gst/app/gstappsink.h>
#include <gst/cuda/gstcudabufferpool.h>
#include <gst/cuda/gstcudaloader.h>
#include <gst/cuda/gstcudautils.h>

#include "../fake_cuda/fake_cuda.h"
#include "element_test.h"

namespace cuda_test {

using namespace element_test;

// The stand-in libraries. They are loaded before anything looks for the real ones, so they are used instead.
struct Driver {
  void* cuda = dlopen(FLOWCACHE_BUILD_DIR "/tests/fake_cuda/libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
  void* cuvid = dlopen(FLOWCACHE_BUILD_DIR "/tests/fake_cuda/libnvcuvid.so.1", RTLD_NOW | RTLD_GLOBAL);

  template <typename Function>
  Function* get(const char* name) const {
    return reinterpret_cast<Function*>(dlsym(cuda, name));
  }
};
inline const Driver driver;

inline int ask(const char* name) {
  return driver.get<int()>(name)();
}

class Cuda : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(driver.cuda, nullptr);
    contexts_ = ask("fake_cuda_live_contexts");
    ASSERT_EQ(ask("fake_cuda_live_allocations"), 0);
  }
  // A bin's own thread may hold the pipeline for a moment after it has ended.
  void expect_nothing_left() const {
    EXPECT_TRUE(element_test::eventually([] { return ask("fake_cuda_live_allocations") == 0; }))
        << ask("fake_cuda_live_allocations") << " allocations";
    EXPECT_TRUE(element_test::eventually([this] { return ask("fake_cuda_live_contexts") == contexts_; }))
        << ask("fake_cuda_live_contexts") << " contexts instead of " << contexts_;
  }
  // Checks that everything was released and that nothing was done that a driver would refuse.
  void TearDown() override {
    expect_nothing_left();
    EXPECT_EQ(ask("fake_cuda_misuses"), 0) << driver.get<const char*()>("fake_cuda_first_misuse")();
  }

  int contexts_ = 0;
};

inline bool have(const char* element) {
  GstElementFactory* factory = gst_element_factory_find(element);
  if (factory == nullptr) return false;
  gst_object_unref(factory);
  return true;
}

#define NEEDS_NVCODEC()      \
  if (!have("cudadownload")) \
  GTEST_SKIP() << "no cudadownload: gstreamer1.0-plugins-bad is built without nvcodec"

// `memory-path` of the statistics.
inline std::string path_of(GstElement* source) {
  GstStructure* stats = nullptr;
  g_object_get(source, "stats", &stats, nullptr);
  std::string path = gst_structure_get_string(stats, "memory-path");
  gst_structure_free(stats);
  return path;
}

struct Played {
  std::vector<Seen> frames;
  std::string memory_path;
  guint64 context_copies = 0;
  int contexts = 0, warnings = 0;
};

// Plays a pipeline whose source is named s and whose sink is an appsink named k.
inline Played play(const std::string& source_options, const std::string& rest,
                   GstContext* context = nullptr) {
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
  while (GstSample* sample = gst_app_sink_try_pull_sample(GST_APP_SINK(sink), kPatience)) {
    played.frames.push_back(look_at(sample));
    played.contexts = ask("fake_cuda_live_contexts");
    gst_sample_unref(sample);
  }
  played.memory_path = path_of(source);
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

inline void expect_nine_frames(const Played& played) {
  ASSERT_EQ(played.frames.size(), 9u);
  for (uint32_t i = 0; i < 9; ++i) {
    EXPECT_EQ(played.frames[i].number, i);
    EXPECT_EQ(played.frames[i].hash, hash_of("fire"));
  }
}

inline constexpr const char* kDownload = "cudadownload ! ";

inline std::string in_cuda(const std::string& format) {
  return "video/x-raw(memory:CUDAMemory),format=" + format + " ! " + kDownload +
         "video/x-raw,format=" + format;
}

}  // namespace cuda_test
