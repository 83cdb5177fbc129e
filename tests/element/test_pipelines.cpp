// SPDX-License-Identifier: LGPL-2.1-or-later
// Whole pipelines, on the real clock.
#include <glib/gstdio.h>
#include <gst/app/gstappsink.h>

#include "element_test.h"

using namespace element_test;

namespace {

struct Program {
  int status = -1;
  std::string output;
};

// Runs a program in the environment of these tests, with these variables added.
Program run(const std::string& command, const std::vector<std::string>& environment = {}) {
  char** env = g_get_environ();
  for (const std::string& setting : environment) {
    const auto equals = setting.find('=');
    env = g_environ_setenv(env, setting.substr(0, equals).c_str(), setting.c_str() + equals + 1, TRUE);
  }
  char** argv = nullptr;
  Program result;
  char *out = nullptr, *err = nullptr;
  if (g_shell_parse_argv(command.c_str(), nullptr, &argv, nullptr) &&
      g_spawn_sync(nullptr, argv, env, G_SPAWN_SEARCH_PATH, nullptr, nullptr, &out, &err, &result.status,
                   nullptr)) {
    result.output = std::string(out) + err;
  }
  g_free(out);
  g_free(err);
  g_strfreev(argv);
  g_strfreev(env);
  return result;
}

TEST(Pipelines, TwoSourcesWithCompositor) {
  EXPECT_EQ(run_to_end("compositor name=c sink_1::xpos=64 ! videoconvert ! fakesink sync=true "
                       "flowcachesrc model=fake num-buffers=12 ! c.sink_0 "
                       "flowcachesrc model=fake seed=1 num-buffers=12 ! c.sink_1"),
            "");
}

TEST(Pipelines, WithALiveTestSource) {
  EXPECT_EQ(run_to_end("compositor name=c ! fakesink sync=true videotestsrc is-live=true num-buffers=16 ! c. "
                       "flowcachesrc model=fake num-buffers=12 ! c."),
            "");
}

TEST(Pipelines, Tee) {
  EXPECT_EQ(run_to_end("flowcachesrc model=fake num-buffers=10 ! tee name=t t. ! queue ! fakesink "
                       "t. ! queue ! videoconvert ! video/x-raw,format=RGBA ! fakesink"),
            "");
}

TEST(Pipelines, ElementsShareOneModelAndEachHasItsStream) {
  const int before = element_test::fake().opened_engines();
  GstElement* pipeline = gst_parse_launch(
      "flowcachesrc name=a model=fake:load_ms=40 ! fakesink flowcachesrc name=b model=fake:load_ms=40 ! "
      "fakesink",
      nullptr);
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  ASSERT_TRUE(eventually([] { return element_test::fake().live_streams() == 2; }));
  EXPECT_EQ(element_test::fake().live_engines(), 1);
  EXPECT_EQ(element_test::fake().opened_engines(), before + 1);
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(pipeline);
  EXPECT_EQ(element_test::fake().live_engines(), 0);
}

TEST(Pipelines, OtherOptionsAreAnotherModel) {
  GstElement* pipeline = gst_parse_launch(
      "flowcachesrc model=fake threads=1 ! fakesink flowcachesrc model=fake threads=2 ! fakesink", nullptr);
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  ASSERT_TRUE(eventually([] { return element_test::fake().live_streams() == 2; }));
  EXPECT_EQ(element_test::fake().live_engines(), 2);
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(pipeline);
}

// An element that waits for another element's load can be stopped.
TEST(Pipelines, WaitingForAnothersLoadCanBeCancelled) {
  GstElement* first = gst_parse_launch("flowcachesrc model=fake:load_ms=60000 ! fakesink", nullptr);
  GstElement* second = gst_parse_launch("flowcachesrc model=fake:load_ms=60000 ! fakesink", nullptr);
  gst_element_set_state(first, GST_STATE_PAUSED);
  gst_element_set_state(second, GST_STATE_PAUSED);
  const gint64 begin = g_get_monotonic_time();
  gst_element_set_state(second, GST_STATE_NULL);
  gst_element_set_state(first, GST_STATE_NULL);
  EXPECT_LT(g_get_monotonic_time() - begin, 2 * G_USEC_PER_SEC);
  gst_object_unref(first);
  gst_object_unref(second);
}

// A busy machine may hold frames up for less than a pause lasts: only a pause that counts as time leaves out slots.
TEST(Pipelines, PauseAndResumeOnTheRealClock) {
  constexpr int kPauseMs = 800;
  const std::string line =
      "flowcachesrc name=s model=fake max-lateness=" + std::to_string(kPauseMs * 750'000LL) +
      " ! appsink name=k sync=true max-buffers=100";
  GstElement* pipeline = gst_parse_launch(line.c_str(), nullptr);
  GstElement* sink = gst_bin_get_by_name(GST_BIN(pipeline), "k");
  std::vector<GstClockTime> times;
  const auto take = [&](int n) {
    for (int i = 0; i < n; ++i) {
      GstSample* sample = gst_app_sink_try_pull_sample(GST_APP_SINK(sink), kPatience);
      ASSERT_NE(sample, nullptr);
      times.push_back(GST_BUFFER_PTS(gst_sample_get_buffer(sample)));
      gst_sample_unref(sample);
    }
  };
  for (int round = 0; round < 3; ++round) {
    gst_element_set_state(pipeline, GST_STATE_PLAYING);
    take(4);
    gst_element_set_state(pipeline, GST_STATE_PAUSED);
    g_usleep(kPauseMs * 1000);
  }
  for (size_t i = 1; i < times.size(); ++i) EXPECT_EQ(times[i] - times[0], i * kFrame) << i;
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(sink);
  gst_object_unref(pipeline);
}

// From a prompt to an MP4 file and back: length, size and rate by gst-discoverer-1.0, and the numbers in the
// pictures.
TEST(Pipelines, ToMp4AndBack) {
  g_autofree char* path = g_build_filename(g_get_tmp_dir(), "flowcache-element-test.mp4", nullptr);
  ASSERT_EQ(run_to_end(
                std::string(
                    "flowcachesrc model=fake:width=320,height=192 prompt=fire is-live=false num-buffers=32 ! "
                    "x264enc speed-preset=veryfast ! mp4mux ! filesink location=") +
                path),
            "");
  const Program discovered = run(std::string("gst-discoverer-1.0 -v ") + path);
  EXPECT_EQ(discovered.status, 0) << discovered.output;
  for (const char* part :
       {"Duration: 0:00:02.000000000", "Width: 320", "Height: 192", "Frame rate: 16/1", "H.264"}) {
    EXPECT_NE(discovered.output.find(part), std::string::npos) << part << " in " << discovered.output;
  }
  GstElement* pipeline = gst_parse_launch((std::string("filesrc location=") + path +
                                           " ! qtdemux ! h264parse ! avdec_h264 ! appsink name=k sync=false")
                                              .c_str(),
                                          nullptr);
  GstElement* sink = gst_bin_get_by_name(GST_BIN(pipeline), "k");
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  uint32_t count = 0;
  while (GstSample* sample = gst_app_sink_try_pull_sample(GST_APP_SINK(sink), kPatience)) {
    const Seen seen = look_at(sample);
    EXPECT_EQ(seen.number, count);
    EXPECT_EQ(seen.hash, hash_of("fire"));
    ++count;
    gst_sample_unref(sample);
  }
  EXPECT_EQ(count, 32u);
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(sink);
  gst_object_unref(pipeline);
  g_remove(path);
}

// Runs in a process of its own, because the tracer reports everything that exists at the end of the process.
void expect_no_leaks(const std::string& pipeline) {
  const Program leaks = run("gst-launch-1.0 " + pipeline,
                            {"GST_TRACERS=leaks", "GST_DEBUG=GST_TRACER:7", "GST_DEBUG_NO_COLOR=1"});
  EXPECT_EQ(leaks.status, 0) << leaks.output;
  EXPECT_NE(leaks.output.find("GST_TRACER"), std::string::npos);  // the tracer ran
  // The tracer also prints the formats of its lines, which have %s instead of the names.
  const std::string alive = "object-alive, type-name=(string)";
  for (size_t at = leaks.output.find(alive); at != std::string::npos; at = leaks.output.find(alive, at + 1)) {
    EXPECT_EQ(leaks.output[at + alive.size()], '%') << leaks.output.substr(at, 200);
  }
}

TEST(Pipelines, LeaksTracerFindsNothing) {
  expect_no_leaks(
      "flowcachesrc model=fake num-buffers=20 ! tee name=t t. ! queue ! fakesink "
      "t. ! queue ! videoconvert ! video/x-raw,format=RGBA ! fakesink");
}

// With tags, and an input that ends in mid-chunk.
TEST(Pipelines, LeaksTracerFindsNothingBehindAFilter) {
  expect_no_leaks(
      "videotestsrc num-buffers=18 ! "
      "video/x-raw,format=NV12,width=64,height=48,framerate=16/1,colorimetry=bt709 ! "
      "taginject tags=title=holiday ! flowcachefilter model=fake sei=true ! fakesink sync=false");
}

// GStreamer's other tracers work with the element.
TEST(Pipelines, LatencyAndStatsTracersWork) {
  const Program traced =
      run("gst-launch-1.0 flowcachesrc model=fake num-buffers=8 ! queue ! fakesink sync=true",
          {"GST_TRACERS=latency(flags=pipeline+element+reported);stats;rusage", "GST_DEBUG=GST_TRACER:7",
           "GST_DEBUG_NO_COLOR=1"});
  EXPECT_EQ(traced.status, 0) << traced.output;
  for (const char* part : {"latency, src-element-id=(string)", "src-element=(string)flowcachesrc0",
                           "element-reported-latency", "buffer, thread-id="}) {
    EXPECT_NE(traced.output.find(part), std::string::npos) << part;
  }
}

TEST(Pipelines, InspectShowsEveryProperty) {
  const Program inspect = run("gst-inspect-1.0 flowcachesrc");
  EXPECT_EQ(inspect.status, 0);
  for (const char* part : {"model ", "prompt ", "seed ", "cache-threshold", "kv-budget", "steps ",
                           "guidance-scale", "is-live", "stats ", "underrun", "Source/Video", "LGPL"}) {
    EXPECT_NE(inspect.output.find(part), std::string::npos) << part;
  }
}

// The registry's entry depends on the engine: if the engine changes, the plugin is scanned again.
TEST(Pipelines, RegistryFollowsTheEngine) {
  g_autofree char* registry = g_build_filename(g_get_tmp_dir(), "flowcache-dependency.registry", nullptr);
  g_remove(registry);
  const auto looks_again = [&](const char* engine) {
    const Program inspect = run("gst-inspect-1.0 flowcachesrc",
                                {"GST_REGISTRY=" + std::string(registry), "GST_DEBUG=GST_REGISTRY:4",
                                 "GST_DEBUG_NO_COLOR=1", std::string("FLOWCACHE_ENGINE=") + engine});
    EXPECT_EQ(inspect.status, 0);
    return inspect.output.find("Registry cache changed") != std::string::npos;
  };
  EXPECT_TRUE(looks_again("/a/engine.so"));
  EXPECT_FALSE(looks_again("/a/engine.so"));
  EXPECT_TRUE(looks_again("/b/engine.so"));
  g_remove(registry);
}

// A scan of the plugin must not load LibTorch or the engine.
TEST(Pipelines, PluginLinksNoEngine) {
  const Program links = run("ldd " FLOWCACHE_BUILD_DIR "/gst-plugin/libgstflowcache.so");
  EXPECT_EQ(links.status, 0);
  EXPECT_EQ(links.output.find("torch"), std::string::npos) << links.output;
  EXPECT_EQ(links.output.find("libflowcache"), std::string::npos) << links.output;
}

}  // namespace
