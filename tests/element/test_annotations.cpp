// SPDX-License-Identifier: LGPL-2.1-or-later
// Metas of frames, and events that can be sent to the source while it plays.
#include <gst/app/gstappsink.h>
#include <gst/controller/controller.h>

#include "element_test.h"

using namespace element_test;

namespace {

guint64 meta_value(GstBuffer* buffer, const char* field) {
  GstCustomMeta* meta = gst_buffer_get_custom_meta(buffer, "FlowCacheMeta");
  guint64 value = G_MAXUINT64;
  guint small = 0;
  if (meta == nullptr) return value;
  const GstStructure* s = gst_custom_meta_get_structure(meta);
  if (!gst_structure_get_uint64(s, field, &value) && gst_structure_get_uint(s, field, &small)) value = small;
  return value;
}

TEST(Meta, SaysWhatMadeTheFrame) {
  Source source("seed=9 max-chunks-ahead=8");
  source.play();
  for (guint i = 0; i < 9; ++i) {
    const BufferPtr buffer(source.pull());
    ASSERT_TRUE(buffer);
    EXPECT_EQ(meta_value(buffer.get(), "chunk"), i / 4);
    EXPECT_EQ(meta_value(buffer.get(), "frame"), i % 4);
    EXPECT_EQ(meta_value(buffer.get(), "frames"), 4u);
    EXPECT_EQ(meta_value(buffer.get(), "steps-computed"), 2u);
    EXPECT_EQ(meta_value(buffer.get(), "steps-reused"), 2u);
    EXPECT_EQ(meta_value(buffer.get(), "kv-bytes"), (i / 4 + 1) * 1000);
    EXPECT_EQ(meta_value(buffer.get(), "seed"), 9u);
    EXPECT_EQ(meta_value(buffer.get(), "prompt-ticket"), 0u);
  }
}

TEST(Meta, SurvivesQueueConverterAndScaler) {
  GstElement* pipeline = gst_parse_launch(
      "flowcachesrc model=fake is-live=false num-buffers=6 ! queue ! videoconvert ! videoscale ! "
      "video/x-raw,format=RGBA,width=128 ! appsink name=k sync=false",
      nullptr);
  GstElement* sink = gst_bin_get_by_name(GST_BIN(pipeline), "k");
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  guint64 count = 0;
  while (GstSample* sample = gst_app_sink_try_pull_sample(GST_APP_SINK(sink), kPatience)) {
    EXPECT_EQ(meta_value(gst_sample_get_buffer(sample), "chunk"), count / 4);
    ++count;
    gst_sample_unref(sample);
  }
  EXPECT_EQ(count, 6u);
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(sink);
  gst_object_unref(pipeline);
}

// A frame's intent is the time at which its chunk was begun. It is never after the frame, and the same for
// all of a chunk.
TEST(Meta, IntentIsWhenTheChunkWasBegun) {
  Source source("max-chunks-ahead=1");
  source.play();
  GstClockTime of_chunk = GST_CLOCK_TIME_NONE;
  for (int i = 0; i < 12; ++i) {
    const BufferPtr buffer(source.pull());
    ASSERT_TRUE(buffer);
    const GstReferenceTimestampMeta* meta = gst_buffer_get_reference_timestamp_meta(buffer.get(), nullptr);
    ASSERT_NE(meta, nullptr);
    EXPECT_LE(meta->timestamp, GST_BUFFER_PTS(buffer.get()));
    if (i % 4 == 0) of_chunk = meta->timestamp;
    EXPECT_EQ(meta->timestamp, of_chunk);
  }
  EXPECT_GT(of_chunk, 0u);
}

// A frame's wall time goes with its timestamp: both move by the same.
TEST(Meta, WallTimeIsThatOfTheSlot) {
  Source source("max-chunks-ahead=8");
  source.play();
  const GstClockTime before = static_cast<GstClockTime>(g_get_real_time()) * GST_USECOND;
  GstCaps* unix_time = gst_caps_new_empty_simple("timestamp/x-unix");
  for (int i = 0; i < 4; ++i) {
    const BufferPtr buffer(source.pull());
    ASSERT_TRUE(buffer);
    const GstReferenceTimestampMeta* meta = gst_buffer_get_reference_timestamp_meta(buffer.get(), unix_time);
    ASSERT_NE(meta, nullptr);
    EXPECT_GE(meta->timestamp, before);
    EXPECT_LE(meta->timestamp, static_cast<GstClockTime>(g_get_real_time()) * GST_USECOND);
  }
  Source free("is-live=false");
  free.play();
  const BufferPtr buffer(free.pull());
  EXPECT_EQ(gst_buffer_get_reference_timestamp_meta(buffer.get(), unix_time), nullptr);
  gst_caps_unref(unix_time);
}

TEST(Chunks, AreReportedOnDemand) {
  Source source("report-chunks=true");
  source.play();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  for (guint64 chunk = 0; chunk < 2; ++chunk) {
    const MessagePtr message(source.element_message("flowcache-chunk"));
    ASSERT_TRUE(message);
    const GstStructure* s = gst_message_get_structure(message.get());
    guint64 number = 0, pts = 0;
    gst_structure_get_uint64(s, "chunk", &number);
    gst_structure_get_uint64(s, "pts", &pts);
    EXPECT_EQ(number, chunk);
    EXPECT_EQ(pts, chunk * 4 * kFrame);
    EXPECT_STREQ(gst_structure_get_string(s, "decisions"), "CCRR");
  }
}

// The first buffer whose picture shows this prompt.
BufferPtr first_with(Source& source, const std::string& prompt) {
  for (int i = 0; i < 80; ++i) {
    BufferPtr buffer(source.pull());
    if (!buffer) break;
    if (look_at(buffer.get(), source.info()).hash == hash_of(prompt)) return buffer;
  }
  return nullptr;
}

TEST(Control, ActionSignalSetsAPromptAtATime) {
  Source source("prompt=fire max-chunks-ahead=1");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  gboolean accepted = FALSE;
  const GstClockTime at = 30 * kFrame;  // inside chunk 7, so chunk 8 is the first that begins after it
  g_signal_emit_by_name(source.element(), "set-prompt", "snow", 0u, at, &accepted);
  EXPECT_TRUE(accepted);
  const BufferPtr buffer = first_with(source, "snow");
  ASSERT_TRUE(buffer);
  EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), 32 * kFrame);
  const std::string longest(10240, 'x');
  g_signal_emit_by_name(source.element(), "set-prompt", longest.c_str(), 0u, GST_CLOCK_TIME_NONE, &accepted);
  EXPECT_FALSE(accepted);
}

TEST(Control, ActionSignalResetsWithASeedAndKeepsTheGrid) {
  Source source("max-chunks-ahead=2");
  source.play();
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  g_signal_emit_by_name(source.element(), "reset", guint64{77});
  bool reset = false;
  GstClockTime before = 5 * kFrame;
  for (int i = 0; i < 20 && !reset; ++i) {
    const BufferPtr buffer(source.pull());
    ASSERT_TRUE(buffer);
    if (!GST_BUFFER_FLAG_IS_SET(buffer.get(), GST_BUFFER_FLAG_GAP)) {
      EXPECT_EQ(GST_BUFFER_PTS(buffer.get()), before + kFrame);
    }
    before = GST_BUFFER_PTS(buffer.get());
    reset = meta_value(buffer.get(), "seed") == 77;
    if (!reset) continue;
    EXPECT_EQ(look_at(buffer.get(), source.info()).number, 0u);
  }
  EXPECT_TRUE(reset);
}

// A prompt for a given time is shown at that time, after loading, underruns, a reset or a restart.
GstClockTime shown_at(Source& source, const std::string& prompt) {
  const BufferPtr buffer = first_with(source, prompt);
  return buffer ? GST_BUFFER_PTS(buffer.get()) : GST_CLOCK_TIME_NONE;
}

bool set_prompt_at(Source& source, const char* prompt, GstClockTime at) {
  gboolean accepted = FALSE;
  g_signal_emit_by_name(source.element(), "set-prompt", prompt, 0u, at, &accepted);
  return accepted != FALSE;
}

// A chunk has 4 frames. The grid begins at 2 s, so the first chunk at or after 3.1 s begins at 3.25 s.
TEST(PromptAtATime, GivenWhileTheModelLoads) {
  Hold hold(0);
  Source source("prompt=fire");
  source.play();
  EXPECT_TRUE(set_prompt_at(source, "snow", 3100 * GST_MSECOND));
  gst_test_clock_set_time(source.clock(), 2 * GST_SECOND);
  hold.release();
  EXPECT_EQ(shown_at(source, "snow"), 3250 * GST_MSECOND);
}

TEST(PromptAtATime, GivenBeforeTheStart) {
  Source source("prompt=fire");
  EXPECT_TRUE(set_prompt_at(source, "snow", GST_SECOND));
  EXPECT_FALSE(set_prompt_at(source, "a\xff", GST_SECOND));
  gst_element_set_state(source.element(), GST_STATE_READY);
  EXPECT_TRUE(set_prompt_at(source, "stars", 2 * GST_SECOND));
  source.play();
  const BufferPtr first(source.pull());
  ASSERT_TRUE(first);
  EXPECT_EQ(look_at(first.get(), source.info()).hash, hash_of("fire"));
  EXPECT_EQ(shown_at(source, "snow"), GST_SECOND);
  EXPECT_EQ(shown_at(source, "stars"), 2 * GST_SECOND);
}

TEST(PromptAtATime, ComesBackAfterAReset) {
  Source source("prompt=fire max-chunks-ahead=1");
  source.play();
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_TRUE(set_prompt_at(source, "snow", 2 * GST_SECOND));
  g_signal_emit_by_name(source.element(), "reset", guint64{5});
  const GstClockTime shown = shown_at(source, "snow");
  EXPECT_GE(shown, 2 * GST_SECOND);
  EXPECT_LT(shown, 2 * GST_SECOND + 4 * kFrame);
}

// Repeated frames move the video in time: without them chunk 16 would begin at 4 s.
TEST(PromptAtATime, CountsWhatAnUnderrunAdds) {
  Hold hold(2);
  Source source("prompt=fire latency=0");
  source.play();
  EXPECT_EQ(source.pull_times(8).size(), 8u);
  EXPECT_TRUE(set_prompt_at(source, "snow", 4 * GST_SECOND));
  for (int i = 0; i < 16; ++i) ASSERT_TRUE(BufferPtr(source.pull(false)));  // repeats for one second
  hold.release();
  const GstClockTime shown = shown_at(source, "snow");
  EXPECT_GE(shown, 4 * GST_SECOND);
  EXPECT_LT(shown, 4 * GST_SECOND + 4 * kFrame);
}

TEST(PromptAtATime, OnesForTheSameTimeReplaceEachOther) {
  Source source("prompt=fire");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_TRUE(set_prompt_at(source, "snow", 2 * GST_SECOND));
  EXPECT_TRUE(set_prompt_at(source, "stars", 2 * GST_SECOND));
  EXPECT_EQ(shown_at(source, "stars"), 2 * GST_SECOND);
  const MessagePtr replaced(source.element_message("flowcache-prompt", "replaced"));
  ASSERT_TRUE(replaced);
  EXPECT_STREQ(gst_structure_get_string(gst_message_get_structure(replaced.get()), "prompt"), "snow");
}

// A prompt that was given and is not shown yet survives a reset, as the property's description says.
TEST(Control, PromptAskedForBeforeAResetShowsAfterIt) {
  Source source("prompt=fire max-chunks-ahead=2");
  source.play();
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  ASSERT_TRUE(eventually([&] { return stat(source.element(), "ring-level") > 4; }));  // the engine waits
  g_object_set(source.element(), "prompt", "snow", nullptr);
  ASSERT_TRUE(MessagePtr(source.element_message("flowcache-prompt", "received")));  // of the first prompt
  ASSERT_TRUE(MessagePtr(source.element_message("flowcache-prompt", "received")));
  g_signal_emit_by_name(source.element(), "reset", guint64{5});
  EXPECT_TRUE(first_with(source, "snow"));
}

TEST(Control, StatisticsOnRequest) {
  Source source("");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_EQ(stat(source.element(), "frames"), 1u);
  g_signal_emit_by_name(source.element(), "request-stats");
  const MessagePtr message(source.element_message("flowcache-stats"));
  ASSERT_TRUE(message);
  guint64 frames = 0;
  EXPECT_TRUE(gst_structure_get_uint64(gst_message_get_structure(message.get()), "frames", &frames));
  EXPECT_GE(frames, 1u);
}

// Code that watches a property is also notified of changes that were made in another way.
TEST(Control, ChangesByOtherWaysAreNotified) {
  Source source("prompt=fire");
  int notified = 0;
  const auto count = +[](GObject*, GParamSpec*, gpointer user) { ++*static_cast<int*>(user); };
  g_signal_connect(source.element(), "notify::prompt", G_CALLBACK(count), &notified);
  g_signal_connect(source.element(), "notify::seed", G_CALLBACK(count), &notified);
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  gboolean accepted = FALSE;
  g_signal_emit_by_name(source.element(), "set-prompt", "snow", 0u, GST_CLOCK_TIME_NONE, &accepted);
  EXPECT_EQ(notified, 1);
  g_signal_emit_by_name(source.element(), "set-prompt", "a\xff", 0u, GST_CLOCK_TIME_NONE, &accepted);
  EXPECT_EQ(notified, 1);
  g_signal_emit_by_name(source.element(), "reset", guint64{3});
  EXPECT_EQ(notified, 2);
  g_autofree char* prompt = nullptr;
  g_object_get(source.element(), "prompt", &prompt, nullptr);
  EXPECT_STREQ(prompt, "snow");
}

TEST(Control, UpstreamEventSetsThePrompt) {
  Source source("prompt=fire max-chunks-ahead=1");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_TRUE(gst_harness_push_upstream_event(
      source.harness(),
      gst_event_new_custom(GST_EVENT_CUSTOM_UPSTREAM,
                           gst_structure_new("flowcache/prompt", "prompt", G_TYPE_STRING, "snow", nullptr))));
  EXPECT_TRUE(first_with(source, "snow"));
  EXPECT_TRUE(gst_element_send_event(
      source.element(),
      gst_event_new_custom(GST_EVENT_CUSTOM_UPSTREAM, gst_structure_new("flowcache/prompt", "prompt",
                                                                        G_TYPE_STRING, "stars", nullptr))));
  EXPECT_TRUE(first_with(source, "stars"));
  // Events of other names, and events without fields, are not handled.
  for (const char* name : {"flowcache/prompt", "flowcache/reset", "somebody/else"}) {
    EXPECT_FALSE(gst_harness_push_upstream_event(
        source.harness(), gst_event_new_custom(GST_EVENT_CUSTOM_UPSTREAM, gst_structure_new_empty(name))))
        << name;
  }
}

// Counts force-key-unit events that arrive before the first frame with this prompt.
int keyframes_asked_for(Source& source, const std::string& prompt) {
  while (GstEvent* event = gst_harness_try_pull_event(source.harness())) gst_event_unref(event);
  g_object_set(source.element(), "prompt", prompt.c_str(), nullptr);
  if (!first_with(source, prompt)) ADD_FAILURE() << "the prompt did not arrive";
  int count = 0;
  while (GstEvent* event = gst_harness_try_pull_event(source.harness())) {
    count += gst_video_event_is_force_key_unit(event);
    gst_event_unref(event);
  }
  return count;
}

// A reset is a cut, too.
TEST(Control, ResetAsksForAKeyframe) {
  Source source("max-chunks-ahead=1");
  source.play();
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  while (GstEvent* event = gst_harness_try_pull_event(source.harness())) {
    EXPECT_FALSE(gst_video_event_is_force_key_unit(event));
    gst_event_unref(event);
  }
  g_signal_emit_by_name(source.element(), "reset", guint64{7});
  for (int i = 0; i < 16; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  int count = 0;
  while (GstEvent* event = gst_harness_try_pull_event(source.harness())) {
    count += gst_video_event_is_force_key_unit(event);
    gst_event_unref(event);
  }
  EXPECT_EQ(count, 1);
}

TEST(Control, CutsAskForAKeyframeAndBlendsDoNot) {
  Source source("prompt=fire max-chunks-ahead=1");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_EQ(keyframes_asked_for(source, "snow"), 1);
  g_object_set(source.element(), "blend-chunks", 3u, nullptr);
  EXPECT_EQ(keyframes_asked_for(source, "stars"), 0);
  gst_util_set_object_arg(G_OBJECT(source.element()), "prompt-transition", "recache");
  EXPECT_EQ(keyframes_asked_for(source, "rain"), 0) << "the scene goes on";
}

TEST(Control, PromptIsATagBehindTheSegment) {
  Source source("prompt=fire");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  bool segment = false, tag = false;
  while (GstEvent* event = gst_harness_try_pull_event(source.harness())) {
    segment = segment || GST_EVENT_TYPE(event) == GST_EVENT_SEGMENT;
    if (GST_EVENT_TYPE(event) == GST_EVENT_TAG) {
      GstTagList* tags = nullptr;
      g_autofree char* text = nullptr;
      gst_event_parse_tag(event, &tags);
      g_autofree char* title = nullptr;
      tag = gst_tag_list_get_string(tags, GST_TAG_DESCRIPTION, &text) && g_str_equal(text, "fire") &&
            gst_tag_list_get_string(tags, GST_TAG_TITLE, &title) && g_str_equal(title, "fire");
      EXPECT_TRUE(segment);
    }
    gst_event_unref(event);
  }
  EXPECT_TRUE(tag);
}

TEST(Control, ControllerMovesTheThreshold) {
  Source source("max-chunks-ahead=1");
  GstControlSource* curve = gst_interpolation_control_source_new();
  g_object_set(curve, "mode", GST_INTERPOLATION_MODE_LINEAR, nullptr);
  gst_object_add_control_binding(
      GST_OBJECT(source.element()),
      gst_direct_control_binding_new_absolute(GST_OBJECT(source.element()), "cache-threshold", curve));
  gst_timed_value_control_source_set(GST_TIMED_VALUE_CONTROL_SOURCE(curve), 0, 0.25);
  gst_timed_value_control_source_set(GST_TIMED_VALUE_CONTROL_SOURCE(curve), 16 * kFrame, 0.5);
  gst_timed_value_control_source_set(GST_TIMED_VALUE_CONTROL_SOURCE(curve), 64 * kFrame, 0.5);
  gst_object_unref(curve);
  source.play();
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_EQ(stat_double(source.element(), "cache-threshold"), 0.5);
}

}  // namespace
