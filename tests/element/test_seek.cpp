// SPDX-License-Identifier: LGPL-2.1-or-later
// Seeking in streams that are not live: the frame at a time is the same however it is reached.
#include <gst/app/gstappsink.h>

#include "element_test.h"

using namespace element_test;

namespace {

// A pipeline in PAUSED whose frames are pulled.
class Player {
 public:
  explicit Player(const std::string& properties) {
    pipeline_ = gst_parse_launch(
        ("flowcachesrc name=s is-live=false " + properties + " ! appsink name=k sync=false max-buffers=1")
            .c_str(),
        nullptr);
    sink_ = gst_bin_get_by_name(GST_BIN(pipeline_), "k");
    source_ = gst_bin_get_by_name(GST_BIN(pipeline_), "s");
  }
  ~Player() {
    gst_element_set_state(pipeline_, GST_STATE_NULL);
    gst_object_unref(source_);
    gst_object_unref(sink_);
    gst_object_unref(pipeline_);
  }
  Player(const Player&) = delete;
  Player& operator=(const Player&) = delete;

  void play() {
    gst_element_set_state(pipeline_, GST_STATE_PLAYING);
    gst_element_get_state(pipeline_, nullptr, nullptr, 10 * GST_SECOND);
  }
  GstElement* pipeline() const { return pipeline_; }
  GstElement* source() const { return source_; }

  bool seek(GstClockTime start, GstClockTime stop = GST_CLOCK_TIME_NONE, int flags = GST_SEEK_FLAG_FLUSH,
            double rate = 1.0) {
    return gst_element_seek(pipeline_, rate, GST_FORMAT_TIME, static_cast<GstSeekFlags>(flags),
                            GST_SEEK_TYPE_SET, static_cast<gint64>(start),
                            GST_CLOCK_TIME_IS_VALID(stop) ? GST_SEEK_TYPE_SET : GST_SEEK_TYPE_NONE,
                            static_cast<gint64>(stop)) != FALSE;
  }
  // "NUMBER:PROMPT" of the next frames, "-" at the end. Checks that each has the time of its number.
  std::string frames(int count) {
    std::string all;
    for (int i = 0; i < count; ++i) {
      GstSample* sample = gst_app_sink_try_pull_sample(GST_APP_SINK(sink_), 10 * GST_SECOND);
      if (sample == nullptr) return all + "-";
      const Seen seen = look_at(sample);
      EXPECT_EQ(GST_BUFFER_PTS(gst_sample_get_buffer(sample)), seen.number * kFrame);
      all += std::to_string(seen.number) + " ";
      hash_ = seen.hash;
      gst_sample_unref(sample);
    }
    return all;
  }
  uint32_t last_hash() const { return hash_; }

 private:
  GstElement *pipeline_, *sink_, *source_;
  uint32_t hash_ = 0;
};

TEST(Seek, GoesAnywhereForwardAndBack) {
  Player player("");
  player.play();
  EXPECT_EQ(player.frames(2), "0 1 ");
  ASSERT_TRUE(player.seek(2 * GST_SECOND));  // 32 frames ahead; those in between are made but not shown
  EXPECT_EQ(player.frames(2), "32 33 ");
  ASSERT_TRUE(player.seek(GST_SECOND + kFrame / 2));  // inside of a frame
  EXPECT_EQ(player.frames(2), "16 17 ");
  ASSERT_TRUE(player.seek(0));
  EXPECT_EQ(player.frames(3), "0 1 2 ");
  gint64 position = 0;
  EXPECT_TRUE(gst_element_query_position(player.source(), GST_FORMAT_TIME, &position));
  EXPECT_GE(position, static_cast<gint64>(2 * kFrame));
}

TEST(Seek, EndsAtTheStop) {
  Player player("");
  player.play();
  ASSERT_TRUE(player.seek(GST_SECOND, GST_SECOND + 3 * kFrame));
  EXPECT_EQ(player.frames(5), "16 17 18 -");
  ASSERT_TRUE(player.seek(0, 2 * kFrame));  // after the end, too
  EXPECT_EQ(player.frames(5), "0 1 -");
}

// Segment loops: SEGMENT_DONE comes instead of EOS, and a seek without a flush starts the segment again.
TEST(Seek, SegmentsLoop) {
  Player player("");
  player.play();
  EXPECT_EQ(player.frames(1), "0 ");
  ASSERT_TRUE(player.seek(kFrame, 4 * kFrame, GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_SEGMENT));
  GstBus* bus = gst_element_get_bus(player.pipeline());
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(player.frames(3), "1 2 3 ") << round;
    const MessagePtr done(gst_bus_timed_pop_filtered(
        bus, 10 * GST_SECOND, static_cast<GstMessageType>(GST_MESSAGE_SEGMENT_DONE | GST_MESSAGE_EOS)));
    ASSERT_TRUE(done);
    EXPECT_EQ(GST_MESSAGE_TYPE(done.get()), GST_MESSAGE_SEGMENT_DONE);
    ASSERT_TRUE(player.seek(kFrame, 4 * kFrame, GST_SEEK_FLAG_SEGMENT));
  }
  gst_object_unref(bus);
}

TEST(Seek, BeforeTheStartAndInReady) {
  Player player("");
  gst_element_set_state(player.pipeline(), GST_STATE_READY);
  ASSERT_TRUE(gst_element_seek_simple(player.source(), GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH, GST_SECOND));
  player.play();
  EXPECT_EQ(player.frames(2), "16 17 ");
}

// After a reset the numbers of frames do not fit their times; after a seek they fit again.
TEST(Seek, AfterAResetVideoAndTimeAgree) {
  Player player("");
  player.play();
  EXPECT_EQ(player.frames(3), "0 1 2 ");
  g_signal_emit_by_name(player.source(), "reset", guint64{3});
  ASSERT_TRUE(player.seek(GST_SECOND));
  EXPECT_EQ(player.frames(2), "16 17 ");
}

TEST(Seek, BackwardsIsRefusedAndTheStreamGoesOn) {
  Player player("");
  player.play();
  EXPECT_EQ(player.frames(1), "0 ");
  EXPECT_FALSE(player.seek(0, GST_SECOND, GST_SEEK_FLAG_FLUSH, -1.0));
  EXPECT_EQ(player.frames(2), "1 2 ");
  GstQuery* query = gst_query_new_seeking(GST_FORMAT_TIME);
  gboolean seekable = FALSE;
  EXPECT_TRUE(gst_element_query(player.source(), query));
  gst_query_parse_seeking(query, nullptr, &seekable, nullptr, nullptr);
  EXPECT_TRUE(seekable);
  gst_query_unref(query);
}

// An editing service places a source with seeks, also before it plays.
TEST(Seek, PlaysInAComposition) {
  GstElement* composition = gst_element_factory_make("nlecomposition", nullptr);
  GstElement* clip = gst_element_factory_make("nlesource", nullptr);
  if (composition == nullptr || clip == nullptr)
    GTEST_SKIP() << "no nlecomposition: libges-1.0-0 is not installed";
  GstElement* child = gst_parse_bin_from_description("flowcachesrc is-live=false model=fake", TRUE, nullptr);
  gst_bin_add(GST_BIN(clip), child);
  g_object_set(clip, "start", guint64{0}, "duration", gint64{2 * GST_SECOND}, "inpoint", guint64{GST_SECOND},
               "priority", 1u, nullptr);
  gst_bin_add(GST_BIN(composition), clip);
  gboolean committed = FALSE;
  g_signal_emit_by_name(composition, "commit", TRUE, &committed);
  GstElement* pipeline = gst_pipeline_new(nullptr);
  GstElement* sink = gst_element_factory_make("appsink", nullptr);
  g_object_set(sink, "sync", FALSE, nullptr);
  gst_bin_add_many(GST_BIN(pipeline), composition, sink, nullptr);
  ASSERT_TRUE(gst_element_link(composition, sink));
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  uint32_t count = 0;
  while (GstSample* sample = gst_app_sink_try_pull_sample(GST_APP_SINK(sink), 10 * GST_SECOND)) {
    EXPECT_EQ(look_at(sample).number, 16 + count++);
    gst_sample_unref(sample);
  }
  EXPECT_TRUE(gst_app_sink_is_eos(GST_APP_SINK(sink)));
  EXPECT_EQ(count, 32u);
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(pipeline);
}

}  // namespace
