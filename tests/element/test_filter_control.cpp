// SPDX-License-Identifier: LGPL-2.1-or-later
// flowcachefilter: what can be changed and seen while it runs.
#include <gst/controller/gstdirectcontrolbinding.h>
#include <gst/controller/gstinterpolationcontrolsource.h>
#include <gst/video/navigation.h>
#include <gst/video/video-event.h>
#include <gst/video/video-sei.h>

#include <cmath>

#include "filter_test.h"
#include "script_file.h"

using namespace filter_test;

namespace {

TEST(Filter, StrengthHoldsFromTheNextChunkOnWithAReceipt) {
  Filter filter("strength=0.25");
  filter.push_frames(0, 4);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(filter.pull());
  g_object_set(filter.element(), "strength", std::nan(""), nullptr);  // ignored
  g_object_set(filter.element(), "strength", 0.75, nullptr);
  filter.push_frames(4, 8);
  for (int i = 4; i < 8; ++i) ASSERT_TRUE(filter.pull());
  for (const auto& [strength, chunk] : {std::pair{0.25, 0}, std::pair{0.75, 1}}) {
    const MessagePtr receipt = filter.element_message("flowcache-strength");
    ASSERT_TRUE(receipt);
    const GstStructure* s = gst_message_get_structure(receipt.get());
    double given = -1;
    guint64 from = 99, pts = 0;
    gst_structure_get_double(s, "strength", &given);
    gst_structure_get_uint64(s, "chunk", &from);
    gst_structure_get_uint64(s, "pts", &pts);
    EXPECT_EQ(given, strength);
    EXPECT_EQ(from, static_cast<guint64>(chunk));
    EXPECT_EQ(pts, static_cast<GstClockTime>(4 * chunk) * kFrame);
  }
}

TEST(Filter, FollowsTheMotionIfItIsAskedTo) {
  Filter filter("strength=0.5 follow-motion=true");
  filter.push_frames(0, 4);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(filter.pull());
  g_object_set(filter.element(), "follow-motion", FALSE, nullptr);
  filter.push_frames(4, 8);
  for (int i = 4; i < 8; ++i) ASSERT_TRUE(filter.pull());
  for (const double wanted : {0.4, 0.5}) {
    const MessagePtr receipt = filter.element_message("flowcache-strength");
    ASSERT_TRUE(receipt);
    double strength = -1;
    gst_structure_get_double(gst_message_get_structure(receipt.get()), "strength", &strength);
    EXPECT_DOUBLE_EQ(strength, wanted);
  }
}

TEST(Filter, PromptsHaveReceipts) {
  Filter filter("prompt=\"orange fire\"");
  filter.push_frames(0, 4);
  for (int i = 0; i < 4; ++i) {
    const SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample);
    EXPECT_EQ(look_at(sample.get()).hash, hash_of("orange fire"));
  }
  g_object_set(filter.element(), "prompt", "blue snow", nullptr);
  const MessagePtr received = filter.prompt_message("blue snow", "received");
  ASSERT_TRUE(received);
  filter.push_frames(4, 8);
  const SamplePtr sample = filter.pull();
  ASSERT_TRUE(sample);
  EXPECT_EQ(look_at(sample.get()).hash, hash_of("blue snow"));
  const MessagePtr applied = filter.prompt_message("blue snow", "applied");
  ASSERT_TRUE(applied);
  guint64 pts = 0;
  gst_structure_get_uint64(gst_message_get_structure(applied.get()), "pts", &pts);
  EXPECT_EQ(pts, 4 * kFrame);
}

TEST(Filter, SharesItsEngineWithASourceAndAnotherFilter) {
  const int opened = element_test::fake().opened_engines();
  EXPECT_EQ(run_to_end("flowcachesrc is-live=false num-buffers=16 ! tee name=t "
                       "t. ! queue ! flowcachefilter ! fakesink sync=false "
                       "t. ! queue ! flowcachefilter strength=0.2 ! fakesink sync=false"),
            "");
  EXPECT_EQ(element_test::fake().opened_engines(), opened + 1);
}

// A reset begins at chunk 0 again, and no frame is lost or shown at another one's time.
TEST(Filter, AResetLosesNoFrame) {
  Filter filter("");
  filter.push_frames(0, 8);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(filter.pull());
  g_signal_emit_by_name(filter.element(), "reset", guint64{7});
  filter.push_frames(8, 16);
  filter.end();
  for (int i = 5; i < 16; ++i) {
    const SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample) << i;
    EXPECT_EQ(fed_of(sample), i);
    EXPECT_EQ(pts_of(sample), static_cast<GstClockTime>(i) * kFrame);
    EXPECT_EQ(look_at(sample.get()).number, static_cast<uint32_t>(i < 8 ? i : i - 8));
  }
}

// The property's controller takes the time of the chunk's first frame.
TEST(Filter, StrengthCanBeControlled) {
  Filter filter("");
  GstControlSource* source = gst_interpolation_control_source_new();
  g_object_set(source, "mode", GST_INTERPOLATION_MODE_NONE, nullptr);
  gst_timed_value_control_source_set(GST_TIMED_VALUE_CONTROL_SOURCE(source), 0, 0.25);
  gst_timed_value_control_source_set(GST_TIMED_VALUE_CONTROL_SOURCE(source), 4 * kFrame, 0.5);
  gst_object_add_control_binding(
      GST_OBJECT(filter.element()),
      gst_direct_control_binding_new_absolute(GST_OBJECT(filter.element()), "strength", source));
  gst_object_unref(source);
  filter.push_frames(0, 8);
  for (const double wanted : {0.25, 0.5}) {
    const MessagePtr receipt = filter.element_message("flowcache-strength");
    ASSERT_TRUE(receipt);
    double strength = -1;
    gst_structure_get_double(gst_message_get_structure(receipt.get()), "strength", &strength);
    EXPECT_EQ(strength, wanted);
  }
}

// ---- what the source has, too

std::vector<uint32_t> prompts_shown(Filter& filter, int frames) {
  std::vector<uint32_t> seen;
  for (int i = 0; i < frames; ++i) {
    const SamplePtr sample = filter.pull();
    if (!sample) break;
    seen.push_back(look_at(sample.get()).hash);
  }
  return seen;
}

std::vector<uint32_t> runs(const std::vector<std::pair<int, const char*>>& parts) {
  std::vector<uint32_t> all;
  for (const auto& [count, prompt] : parts)
    all.insert(all.end(), static_cast<size_t>(count), hash_of(prompt));
  return all;
}

std::string script(const element_test::ScriptFile& file) {
  return std::string("script-location=") + file.path();
}

std::string vtt(const std::vector<std::pair<int, const char*>>& cues) {
  std::string text = "WEBVTT\n";
  for (const auto& [milliseconds, prompt] : cues) {
    char time[64];
    std::snprintf(time, sizeof time, "\n00:%02d.%03d --> 01:00.000\n", milliseconds / 1000,
                  milliseconds % 1000);
    text += std::string(time) + prompt + "\n";
  }
  return text;
}

// A chunk is 250 ms. More cues than prompts may wait from elsewhere.
TEST(FilterControl, AScriptInTheInputsTime) {
  std::vector<std::pair<int, const char*>> cues = {{300, "snow"}, {750, "rain"}};
  for (int i = 0; i < 80; ++i) cues.emplace_back(5000 + 250 * i, "later");
  const element_test::ScriptFile file(vtt(cues));
  Filter filter("prompt=fire " + script(file));
  filter.push_frames(0, 20);
  EXPECT_EQ(prompts_shown(filter, 20), runs({{8, "fire"}, {4, "snow"}, {8, "rain"}}));
  gboolean taken = FALSE;
  g_signal_emit_by_name(filter.element(), "set-prompt", "wind", 0u, guint64{24 * kFrame}, &taken);
  EXPECT_TRUE(taken) << "a script takes no place of theirs";
  ASSERT_TRUE(filter.prompt_message("rain", "applied"));
  filter.push_frames(20, 32);
  EXPECT_EQ(prompts_shown(filter, 12), runs({{4, "rain"}, {8, "wind"}}));
}

// After a seek the cue that holds at the new position holds at once, and the next one at its time there.
TEST(FilterControl, AScriptAfterASeek) {
  const element_test::ScriptFile file(vtt({{0, "fire"}, {750, "snow"}, {20000, "rain"}, {21000, "wind"}}));
  Filter filter("prompt=never " + script(file));
  filter.push_frames(0, 16);
  EXPECT_EQ(prompts_shown(filter, 16), runs({{12, "fire"}, {4, "snow"}}));
  GstPad* out = gst_element_get_static_pad(filter.input(), "src");
  gst_pad_push_event(out, gst_event_new_flush_start());
  gst_pad_push_event(out, gst_event_new_flush_stop(TRUE));
  GstSegment segment;
  gst_segment_init(&segment, GST_FORMAT_TIME);
  segment.start = segment.time = segment.position = 20'500 * GST_MSECOND;
  gst_pad_push_event(out, gst_event_new_segment(&segment));
  gst_object_unref(out);
  for (int i = 328; i < 344; ++i)
    filter.push(grey(static_cast<uint8_t>(i), static_cast<GstClockTime>(i) * kFrame));
  EXPECT_EQ(prompts_shown(filter, 16), runs({{8, "rain"}, {8, "wind"}}));
}

TEST(FilterControl, AScriptThatIsNoneIsAnError) {
  const element_test::ScriptFile file("no subtitle\n");
  Filter filter(script(file));
  const MessagePtr error = filter.message(GST_MESSAGE_ERROR);
  ASSERT_TRUE(error);
  EXPECT_TRUE(says(text_of(error.get()), "neither SRT nor WebVTT"));
}

// Given before the input begins, and while it runs. A prompt holds from the first chunk that begins then or later.
TEST(Filter, PromptsForATimeHoldFromTheirChunkOn) {
  Filter filter("prompt=fire");
  gboolean taken = FALSE;
  g_signal_emit_by_name(filter.element(), "set-prompt", "snow", 0u, guint64{5 * kFrame}, &taken);
  EXPECT_TRUE(taken);
  filter.push_frames(0, 12);
  EXPECT_EQ(prompts_shown(filter, 12), runs({{8, "fire"}, {4, "snow"}}));
  g_signal_emit_by_name(filter.element(), "set-prompt", "rain", 0u, guint64{16 * kFrame}, &taken);
  filter.push_frames(12, 20);
  EXPECT_EQ(prompts_shown(filter, 8), runs({{4, "snow"}, {4, "rain"}}));
}

TEST(Filter, TextOnThePadPromptIsAPromptAtItsTime) {
  Filter filter("prompt=wind", kRgba, false, "", "",
                " appsrc name=t format=time caps=text/x-raw,format=utf8 ! f.prompt");
  GstElement* text = gst_bin_get_by_name(GST_BIN(filter.pipeline()), "t");
  for (const auto& [words, frame] : {std::pair{"fire", 0}, std::pair{"snow", 5}, std::pair{"", 9}}) {
    const std::string line = words;
    GstBuffer* buffer = line.empty() ? gst_buffer_new() : gst_buffer_new_memdup(line.data(), line.size());
    GST_BUFFER_PTS(buffer) = static_cast<GstClockTime>(frame) * kFrame;
    gst_app_src_push_buffer(GST_APP_SRC(text), buffer);
  }
  filter.push_frames(0, 1);  // the text waits for the input to begin
  ASSERT_TRUE(filter.all_taken(text, "prompt"));
  gst_object_unref(text);
  filter.push_frames(1, 16);
  EXPECT_EQ(prompts_shown(filter, 16), runs({{8, "fire"}, {4, "snow"}, {4, "wind"}}));
}

TEST(Filter, UpstreamEventsAndKeysChangeThePrompt) {
  Filter filter("prompt=fire key-prompts=r=rain");
  filter.push_frames(0, 4);
  EXPECT_EQ(prompts_shown(filter, 4), runs({{4, "fire"}}));
  GstPad* pad = gst_element_get_static_pad(filter.output(), "sink");
  gst_pad_push_event(pad, gst_event_new_custom(GST_EVENT_CUSTOM_UPSTREAM,
                                               gst_structure_new("flowcache/prompt", "prompt", G_TYPE_STRING,
                                                                 "snow", nullptr)));
  ASSERT_TRUE(filter.prompt_message("snow", "received"));
  filter.push_frames(4, 8);
  EXPECT_EQ(prompts_shown(filter, 4), runs({{4, "snow"}}));
  gst_pad_push_event(
      pad, gst_event_new_navigation(gst_structure_new("application/x-gst-navigation", "event", G_TYPE_STRING,
                                                      "key-press", "key", G_TYPE_STRING, "r", nullptr)));
  ASSERT_TRUE(filter.prompt_message("rain", "received"));
  filter.push_frames(8, 12);
  EXPECT_EQ(prompts_shown(filter, 4), runs({{4, "rain"}}));
  gst_object_unref(pad);
}

// What passes the sink's pad.
struct Passed {
  int keyframes = 0;
  GstClockTime keyframe_at = 0;
  std::string title, artist;

  static GstPadProbeReturn note(GstPad*, GstPadProbeInfo* info, gpointer user) {
    auto& self = *static_cast<Passed*>(user);
    GstEvent* event = GST_PAD_PROBE_INFO_EVENT(info);
    if (gst_video_event_is_force_key_unit(event)) {
      ++self.keyframes;
      gst_video_event_parse_downstream_force_key_unit(event, nullptr, nullptr, &self.keyframe_at, nullptr,
                                                      nullptr);
    }
    if (GST_EVENT_TYPE(event) == GST_EVENT_TAG) {
      GstTagList* tags = nullptr;
      gst_event_parse_tag(event, &tags);
      g_autofree char *title = nullptr, *artist = nullptr;
      self.title = gst_tag_list_get_string(tags, GST_TAG_TITLE, &title) ? title : "";
      self.artist = gst_tag_list_get_string(tags, GST_TAG_ARTIST, &artist) ? artist : "";
    }
    return GST_PAD_PROBE_OK;
  }
};

// The input's tags stay, but for those that say what is shown.
TEST(Filter, ThePromptIsATagAndACutAsksForAKeyframe) {
  Filter filter("prompt=fire");
  Passed passed;
  GstPad* pad = gst_element_get_static_pad(filter.output(), "sink");
  gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, Passed::note, &passed, nullptr);
  filter.push_frames(0, 4);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(filter.pull());
  EXPECT_EQ(passed.title, "fire");
  EXPECT_EQ(passed.keyframes, 0);
  GstPad* source = gst_element_get_static_pad(filter.input(), "src");
  gst_pad_push_event(
      source, gst_event_new_tag(gst_tag_list_new(GST_TAG_TITLE, "holiday", GST_TAG_ARTIST, "me", nullptr)));
  gst_object_unref(source);
  EXPECT_TRUE(eventually([&] { return passed.artist == "me"; }));
  EXPECT_EQ(passed.title, "fire");
  g_object_set(filter.element(), "prompt", "snow", nullptr);
  ASSERT_TRUE(filter.prompt_message("snow", "received"));
  filter.push_frames(4, 8);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(filter.pull());
  EXPECT_EQ(passed.title, "snow");
  EXPECT_EQ(passed.artist, "me");
  EXPECT_EQ(passed.keyframes, 1);
  EXPECT_EQ(passed.keyframe_at, 4 * kFrame);
  gst_object_unref(pad);
}

TEST(Filter, ChunksAndStatisticsAreReportedOnDemand) {
  Filter filter("report-chunks=true stats-interval=500000000");
  filter.push_frames(0, 20);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(filter.pull());
  for (guint64 i = 0; i < 5; ++i) {
    const MessagePtr chunk = filter.element_message("flowcache-chunk");
    ASSERT_TRUE(chunk);
    const GstStructure* s = gst_message_get_structure(chunk.get());
    guint64 number = 99, pts = 0;
    gst_structure_get_uint64(s, "chunk", &number);
    gst_structure_get_uint64(s, "pts", &pts);
    EXPECT_EQ(number, i);
    EXPECT_EQ(pts, i * 4 * kFrame);
    EXPECT_STREQ(gst_structure_get_string(s, "decisions"), "CCRR");
  }
  Filter counted("stats-interval=500000000");
  counted.push_frames(0, 20);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(counted.pull());
  guint64 frames = 0;
  for (const guint64 due : {9, 17}) {  // at 0.5 and 1 s
    const MessagePtr stats = counted.element_message("flowcache-stats");
    ASSERT_TRUE(stats);
    gst_structure_get_uint64(gst_message_get_structure(stats.get()), "frames", &frames);
    EXPECT_EQ(frames, due);
  }
}

TEST(Filter, FramesCarryThemselvesForEncoders) {
  Filter filter("sei=true");
  filter.push_frames(0, 4);
  for (int i = 0; i < 4; ++i) {
    const SamplePtr sample = filter.pull();
    ASSERT_TRUE(sample);
    const GstMeta* meta = gst_buffer_get_meta(gst_sample_get_buffer(sample.get()),
                                              GST_VIDEO_SEI_USER_DATA_UNREGISTERED_META_API_TYPE);
    ASSERT_NE(meta, nullptr);
    const auto* sei = reinterpret_cast<const GstVideoSEIUserDataUnregisteredMeta*>(meta);
    const std::string text(reinterpret_cast<const char*>(sei->data), sei->size);
    EXPECT_TRUE(says(text, "\"chunk\":0,\"frame\":" + std::to_string(i) + ",\"frames\":4"));
  }
}

TEST(Filter, ALateSinkTightensTheDeadline) {
  Filter filter("qos=true cache=auto");
  filter.push_frames(0, 4);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(filter.pull());
  ASSERT_TRUE(eventually([&] { return stat(filter.element(), "chunks") > 0; }));
  EXPECT_NEAR(stat_double(filter.element(), "deadline-ms"), 200, 0.001);
  GstPad* pad = gst_element_get_static_pad(filter.output(), "sink");
  for (int i = 1; i < 3; ++i)
    gst_pad_push_event(pad, gst_event_new_qos(GST_QOS_TYPE_UNDERFLOW, 1.5, 100 * GST_MSECOND,
                                              static_cast<GstClockTime>(i) * GST_SECOND));
  gst_object_unref(pad);
  filter.push_frames(4, 12);
  for (int i = 4; i < 12; ++i) ASSERT_TRUE(filter.pull());
  EXPECT_NEAR(stat_double(filter.element(), "deadline-ms"), 180, 0.001);
}

}  // namespace
