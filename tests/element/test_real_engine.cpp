// SPDX-License-Identifier: LGPL-2.1-or-later
// The element with the engine of this build and the model that ships. Both are found without settings.
#include <glib/gstdio.h>
#include <gst/app/gstappsink.h>

#include <array>
#include <cmath>
#include <cstring>
#include <tuple>

#include "element_test.h"

using namespace element_test;

namespace {

constexpr const char* kEngine = FLOWCACHE_BUILD_DIR "/engine/libflowcache.so.0";

struct Picture {
  std::array<double, 3> mean{};
  double spread = 0;  // standard deviation of green
};

Picture picture_of(GstSample* sample) {
  GstMapInfo map;
  gst_buffer_map(gst_sample_get_buffer(sample), &map, GST_MAP_READ);
  Picture p;
  double squares = 0;
  const size_t pixels = map.size / 4;
  for (size_t i = 0; i < pixels; ++i) {
    for (size_t c = 0; c < 3; ++c) p.mean[c] += map.data[4 * i + c] / static_cast<double>(pixels);
    squares += map.data[4 * i + 1] * static_cast<double>(map.data[4 * i + 1]) / static_cast<double>(pixels);
  }
  p.spread = std::sqrt(squares - p.mean[1] * p.mean[1]);
  gst_buffer_unmap(gst_sample_get_buffer(sample), &map);
  return p;
}

// The first frames of a prompt, as RGBA.
std::vector<GstSample*> frames_of(const std::string& prompt, int count, const std::string& size = "",
                                  const std::string& properties = "") {
  GError* error = nullptr;
  GstElement* pipeline = gst_parse_launch(
      ("flowcachesrc name=s is-live=false num-buffers=" + std::to_string(count) + " prompt=\"" + prompt +
       "\" " + properties + " ! video/x-raw,format=RGBA" + size + " ! appsink name=k sync=false")
          .c_str(),
      &error);
  EXPECT_EQ(error, nullptr);
  GstElement* sink = gst_bin_get_by_name(GST_BIN(pipeline), "k");
  EXPECT_NE(gst_element_set_state(pipeline, GST_STATE_PLAYING), GST_STATE_CHANGE_FAILURE);
  std::vector<GstSample*> samples;
  while (GstSample* sample = gst_app_sink_pull_sample(GST_APP_SINK(sink))) samples.push_back(sample);
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(sink);
  gst_object_unref(pipeline);
  return samples;
}

class RealEngine : public testing::Test {
 protected:
  void SetUp() override {
    if (!g_file_test(kEngine, G_FILE_TEST_EXISTS)) GTEST_SKIP() << "the engine is not built: " << kEngine;
  }
  ScopedEnv no_fake_{"FLOWCACHE_ENGINE", ""};
};

// Bars repainted: with strength 0 their places and colours stay, with 0.5 their places do; and with 1 nothing of them.
TEST_F(RealEngine, TheFilterRepaints) {
  const auto repainted = [](const char* strength) {
    GstElement* pipeline = gst_parse_launch(
        (std::string("videotestsrc num-buffers=20 pattern=smpte75 ! "
                     "video/x-raw,width=256,height=160,framerate=16/1 ! "
                     "videoconvert ! flowcachefilter prompt=\"orange fire\" steps=8 strength=") +
         strength + " ! videoconvert ! video/x-raw,format=RGBA ! appsink name=k sync=false")
            .c_str(),
        nullptr);
    GstElement* sink = gst_bin_get_by_name(GST_BIN(pipeline), "k");
    gst_element_set_state(pipeline, GST_STATE_PLAYING);
    std::vector<GstSample*> samples;
    while (GstSample* sample = gst_app_sink_pull_sample(GST_APP_SINK(sink))) samples.push_back(sample);
    gst_element_set_state(pipeline, GST_STATE_NULL);
    gst_object_unref(sink);
    gst_object_unref(pipeline);
    return samples;
  };
  // Mean green of a bar's middle: yellow, the second of seven, or red, the sixth.
  const auto green_of = [](GstSample* sample, int bar) {
    GstMapInfo map;
    gst_buffer_map(gst_sample_get_buffer(sample), &map, GST_MAP_READ);
    double sum = 0;
    for (int y = 20; y < 80; ++y)
      for (int x = 256 * bar / 7 + 12; x < 256 * bar / 7 + 24; ++x) sum += map.data[4 * (256 * y + x) + 1];
    gst_buffer_unmap(gst_sample_get_buffer(sample), &map);
    return sum / (60 * 12);
  };
  for (const auto& [strength, least, most] :
       {std::tuple{"0", 130.0, 230.0}, std::tuple{"0.5", 40.0, 250.0}}) {
    const auto samples = repainted(strength);
    ASSERT_EQ(samples.size(), 20u) << strength;
    const double difference = green_of(samples.back(), 1) - green_of(samples.back(), 5);
    EXPECT_GT(difference, least) << strength;
    EXPECT_LT(difference, most) << strength;
    EXPECT_EQ(GST_BUFFER_PTS(gst_sample_get_buffer(samples[17])), 17 * GST_SECOND / 16);
    for (GstSample* sample : samples) gst_sample_unref(sample);
  }
}

TEST_F(RealEngine, PlaysTheModelThatShips) {
  const auto frames = frames_of("orange fire", 13);  // one more than a chunk
  ASSERT_EQ(frames.size(), 13u);
  const GstStructure* caps = gst_caps_get_structure(gst_sample_get_caps(frames[0]), 0);
  int width = 0, height = 0, fps_n = 0, fps_d = 0;
  gst_structure_get_int(caps, "width", &width);
  gst_structure_get_int(caps, "height", &height);
  gst_structure_get_fraction(caps, "framerate", &fps_n, &fps_d);
  EXPECT_EQ(width, 512);
  EXPECT_EQ(height, 288);
  EXPECT_EQ(fps_n, 16);
  EXPECT_EQ(fps_d, 1);
  const Picture first = picture_of(frames.front());
  EXPECT_GT(first.spread, 5.0);                   // a picture, not a flat field
  EXPECT_GT(first.mean[0], first.mean[2] + 5.0);  // fire is more red than blue
  GstMapInfo one, other;
  gst_buffer_map(gst_sample_get_buffer(frames[0]), &one, GST_MAP_READ);
  gst_buffer_map(gst_sample_get_buffer(frames[12]), &other, GST_MAP_READ);
  EXPECT_NE(memcmp(one.data, other.data, one.size), 0);  // the picture moves
  gst_buffer_unmap(gst_sample_get_buffer(frames[0]), &one);
  gst_buffer_unmap(gst_sample_get_buffer(frames[12]), &other);
  for (GstSample* frame : frames) gst_sample_unref(frame);
}

TEST_F(RealEngine, SeveralProcessesShareAStream) {
  const std::string size = ",width=256,height=160";
  const auto alone = frames_of("orange fire", 13, size),
             together = frames_of("orange fire", 13, size, "devices=cpu,cpu threads=1 rank-timeout=120000");
  ASSERT_EQ(alone.size(), 13u);
  ASSERT_EQ(together.size(), 13u);
  GstMapInfo one, other;
  gst_buffer_map(gst_sample_get_buffer(alone[12]), &one, GST_MAP_READ);
  gst_buffer_map(gst_sample_get_buffer(together[12]), &other, GST_MAP_READ);
  int most = 0;
  for (size_t i = 0; i < one.size; ++i) most = std::max(most, std::abs(one.data[i] - other.data[i]));
  EXPECT_LE(most, 1);  // of 255
  gst_buffer_unmap(gst_sample_get_buffer(alone[12]), &one);
  gst_buffer_unmap(gst_sample_get_buffer(together[12]), &other);
  for (GstSample* frame : alone) gst_sample_unref(frame);
  for (GstSample* frame : together) gst_sample_unref(frame);
  EXPECT_NE(run_to_end("flowcachesrc devices=cpu,join ! fakesink").find("set listen"), std::string::npos);
}

TEST_F(RealEngine, DrawsTheSizeThatIsAskedFor) {
  for (const auto& [width, height] : {std::pair{384, 224}, {320, 192}, {640, 384}}) {
    const auto frames =
        frames_of("orange fire", 13, ",width=" + std::to_string(width) + ",height=" + std::to_string(height));
    ASSERT_EQ(frames.size(), 13u) << width;
    EXPECT_EQ(gst_buffer_get_size(gst_sample_get_buffer(frames.back())), size_t{4} * width * height);
    const Picture last = picture_of(frames.back());
    EXPECT_GT(last.spread, 5.0) << width;
    EXPECT_GT(last.mean[0], last.mean[2] + 5.0) << width;
    for (GstSample* frame : frames) gst_sample_unref(frame);
  }
  const std::string error = run_to_end("flowcachesrc ! video/x-raw,width=500,height=288 ! fakesink");
  EXPECT_NE(error.find("(nearest: 480 and 512)"), std::string::npos) << error;
}

// A chunk of the model that ships plays for 0.75 s. Each cue changes the prompt at the chunk that begins
// with the cue.
TEST_F(RealEngine, FollowsAScriptAndHasADeadline) {
  g_autofree char* path = g_build_filename(g_get_tmp_dir(), "flowcache-real-engine.srt", nullptr);
  ASSERT_TRUE(g_file_set_contents(path,
                                  "1\n00:00:00,000 --> 00:00:00,500\norange fire\n\n"
                                  "2\n00:00:00,750 --> 00:00:01,000\nblue waves\n\n"
                                  "3\n00:00:01,000 --> 00:00:02,000\ngreen aurora\n\n",
                                  -1, nullptr));
  GstElement* pipeline = gst_parse_launch(
      "flowcachesrc name=s is-live=false num-buffers=36 cache=auto qos=true ! fakesink", nullptr);
  GstElement* source = gst_bin_get_by_name(GST_BIN(pipeline), "s");
  g_object_set(source, "script-location", path, nullptr);
  GstBus* bus = gst_element_get_bus(pipeline);
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  std::vector<std::pair<std::string, guint64>> applied;
  bool ended = false;
  while (!ended) {
    const MessagePtr message(gst_bus_timed_pop_filtered(
        bus, 120 * GST_SECOND,
        static_cast<GstMessageType>(GST_MESSAGE_ELEMENT | GST_MESSAGE_ERROR | GST_MESSAGE_EOS)));
    ASSERT_TRUE(message);
    ASSERT_NE(GST_MESSAGE_TYPE(message.get()), GST_MESSAGE_ERROR) << text_of(message.get());
    ended = GST_MESSAGE_TYPE(message.get()) == GST_MESSAGE_EOS;
    const GstStructure* s = gst_message_get_structure(message.get());
    guint64 chunk = 0;
    if (ended || g_strcmp0(gst_structure_get_string(s, "state"), "applied") != 0) continue;
    gst_structure_get_uint64(s, "chunk", &chunk);
    applied.emplace_back(gst_structure_get_string(s, "prompt"), chunk);
  }
  const std::vector<std::pair<std::string, guint64>> wanted = {
      {"orange fire", 0}, {"blue waves", 1}, {"green aurora", 2}};
  EXPECT_EQ(applied, wanted);
  EXPECT_NEAR(stat_double(source, "deadline-ms"), 600, 0.1);
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(bus);
  gst_object_unref(source);
  gst_object_unref(pipeline);
  g_remove(path);
}

// Runs in the child of a death test: a program that ends while its pipelines play, as scripts often do.
[[noreturn]] void exit_while_playing(const char* line, int pipelines) {
  for (int i = 0; i < pipelines; ++i)
    gst_element_set_state(gst_parse_launch(line, nullptr), GST_STATE_PLAYING);
  g_usleep(1500000);
  std::exit(0);
}

TEST_F(RealEngine, AProgramMayEndWhileItPlays) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(exit_while_playing("flowcachesrc prompt=fire cache=none ! fakesink sync=true", 1),
              testing::ExitedWithCode(0), "");
  // Two elements; one waits until the other has loaded the model.
  EXPECT_EXIT(exit_while_playing("flowcachesrc prompt=fire cache=none is-live=false ! fakesink", 2),
              testing::ExitedWithCode(0), "");
}

// The number of steps that the only chunk computes after these presets were loaded.
guint64 computed_steps(std::initializer_list<const char*> presets) {
  GstElement* pipeline = gst_parse_launch(
      "flowcachesrc name=s is-live=false num-buffers=1 max-chunks-ahead=1 ! fakesink", nullptr);
  GstElement* source = gst_bin_get_by_name(GST_BIN(pipeline), "s");
  for (const char* name : presets) EXPECT_TRUE(gst_preset_load_preset(GST_PRESET(source), name)) << name;
  EXPECT_EQ(run_to_end(pipeline), "");
  const guint64 chunks = stat(source, "chunks");
  EXPECT_GT(chunks, 0u);
  const guint64 steps = chunks > 0 ? stat(source, "steps-computed") / chunks : 0;
  gst_object_unref(source);
  gst_object_unref(pipeline);
  return steps;
}

// A preset changes what the model that ships computes, whatever was loaded before it.
TEST_F(RealEngine, PresetsChangeWhatIsComputed) {
  const guint64 fast = computed_steps({"Fast"}), usual = computed_steps({"Steady"});
  EXPECT_GT(fast, 0u);
  EXPECT_LT(fast, usual);
  EXPECT_LT(usual, computed_steps({"Quality"}));
  EXPECT_LT(computed_steps({"Quality", "Fast"}), usual);
}

TEST_F(RealEngine, NullWhileAChunkIsMade) {
  GstElement* pipeline = gst_parse_launch("flowcachesrc ! fakesink", nullptr);
  ASSERT_NE(gst_element_set_state(pipeline, GST_STATE_PLAYING), GST_STATE_CHANGE_FAILURE);
  GstBus* bus = gst_element_get_bus(pipeline);
  // The first prompt is received when the model is loaded and the first chunk is about to be begun.
  const MessagePtr received(gst_bus_timed_pop_filtered(
      bus, 300 * GST_SECOND, static_cast<GstMessageType>(GST_MESSAGE_ELEMENT | GST_MESSAGE_ERROR)));
  ASSERT_TRUE(received);
  ASSERT_EQ(GST_MESSAGE_TYPE(received.get()), GST_MESSAGE_ELEMENT) << text_of(received.get());
  g_usleep(50000);
  const gint64 begin = g_get_monotonic_time();
  gst_element_set_state(pipeline, GST_STATE_NULL);
  EXPECT_LT(g_get_monotonic_time() - begin, G_USEC_PER_SEC);
  gst_object_unref(bus);
  gst_object_unref(pipeline);
}

TEST_F(RealEngine, BadOptionsAreOneClearError) {
  for (const char* options :
       {"cache=magic", "kv-cache=magic", "kv-budget=1000", "device=toaster", "model=/no/such/model"}) {
    const std::string error =
        run_to_end(std::string("flowcachesrc num-buffers=1 ") + options + " ! fakesink");
    const std::string value = std::string(options).substr(std::string(options).find('=') + 1);
    EXPECT_NE(error, "") << options;
    EXPECT_TRUE(error.find(value) != std::string::npos || value == "1000") << options << ": " << error;
  }
}

}  // namespace
