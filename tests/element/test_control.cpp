// SPDX-License-Identifier: LGPL-2.1-or-later
// Properties and prompts while the source plays.
#include <gst/base/gstbasesrc.h>
#include <gst/video/navigation.h>

#include "element_test.h"

using namespace element_test;

namespace {

guint64 field(GstMessage* message, const char* name) {
  guint64 value = 0;
  EXPECT_TRUE(gst_structure_get_uint64(gst_message_get_structure(message), name, &value)) << name;
  return value;
}
std::string text(GstMessage* message, const char* name) {
  const char* value = gst_structure_get_string(gst_message_get_structure(message), name);
  return value == nullptr ? "" : value;
}

TEST(Prompt, FirstOneIsAcknowledged) {
  Source source("prompt=fire");
  source.play();
  const MessagePtr received(source.element_message("flowcache-prompt", "received"));
  ASSERT_TRUE(received);
  EXPECT_EQ(text(received.get(), "prompt"), "fire");
  EXPECT_EQ(field(received.get(), "ticket"), 0u);
  ASSERT_TRUE(BufferPtr(source.pull()));
  const MessagePtr applied(source.element_message("flowcache-prompt", "applied"));
  ASSERT_TRUE(applied);
  EXPECT_EQ(field(applied.get(), "chunk"), 0u);
  EXPECT_EQ(field(applied.get(), "pts"), 0u);
}

// Keys of a window reach the source as navigation events. Other keys, and released keys, change nothing.
TEST(Prompt, KeysShowTheirPrompts) {
  Source source("prompt=fire key-prompts=\"1=blue snow; space = golden ocean=still;\"");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  ASSERT_TRUE(MessagePtr(source.element_message("flowcache-prompt", "received")));
  const auto press = [&](GstEvent* event) {
    return gst_harness_push_upstream_event(source.harness(), event);
  };
  EXPECT_TRUE(press(gst_navigation_event_new_key_press("1", GST_NAVIGATION_MODIFIER_NONE)));
  const MessagePtr first(source.element_message("flowcache-prompt", "received"));
  ASSERT_TRUE(first);
  EXPECT_EQ(text(first.get(), "prompt"), "blue snow");
  press(gst_navigation_event_new_key_press("2", GST_NAVIGATION_MODIFIER_NONE));
  press(gst_navigation_event_new_key_release("1", GST_NAVIGATION_MODIFIER_NONE));
  press(gst_navigation_event_new_mouse_move(1, 2, GST_NAVIGATION_MODIFIER_NONE));
  EXPECT_TRUE(press(gst_navigation_event_new_key_press("space", GST_NAVIGATION_MODIFIER_NONE)));
  const MessagePtr second(source.element_message("flowcache-prompt", "received"));
  ASSERT_TRUE(second);
  EXPECT_EQ(text(second.get(), "prompt"), "golden ocean=still");
}

TEST(Prompt, KeysOfAnotherFormAreNamed) {
  for (const auto& [given, said] :
       {std::pair("fire", "\"fire\" is not KEY=PROMPT"), std::pair("1=", "\"1=\" is not"),
        std::pair("=fire", "\"=fire\" is not"), std::pair("1=a;1=b", "1 has two prompts")}) {
    Source source("");
    g_object_set(source.element(), "key-prompts", given, nullptr);
    EXPECT_EQ(gst_element_set_state(source.element(), GST_STATE_READY), GST_STATE_CHANGE_FAILURE);
    const MessagePtr message(gst_bus_pop_filtered(GST_ELEMENT_BUS(source.element()), GST_MESSAGE_ERROR));
    ASSERT_TRUE(message) << given;
    GError* error = nullptr;
    gst_message_parse_error(message.get(), &error, nullptr);
    EXPECT_NE(std::string(error->message).find(said), std::string::npos) << error->message;
    g_clear_error(&error);
  }
}

// The receipt names exactly the first frame that shows the new prompt.
TEST(Prompt, ChangeWhilePlayingIsReceivedAndApplied) {
  Source source("prompt=fire max-chunks-ahead=1");
  source.play();
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  MessagePtr old(source.element_message("flowcache-prompt", "applied"));
  g_object_set(source.element(), "prompt", "snow", nullptr);
  const MessagePtr received(source.element_message("flowcache-prompt", "received"));
  ASSERT_TRUE(received);
  EXPECT_EQ(text(received.get(), "prompt"), "snow");
  const guint64 ticket = field(received.get(), "ticket");
  EXPECT_GT(ticket, 0u);

  GstClockTime changed = GST_CLOCK_TIME_NONE;
  uint32_t number = 0;
  for (int i = 0; i < 40 && changed == GST_CLOCK_TIME_NONE; ++i) {
    const BufferPtr buffer(source.pull());
    ASSERT_TRUE(buffer);
    const Seen seen = look_at(buffer.get(), source.info());
    number = seen.number;
    ASSERT_TRUE(seen.hash == hash_of("fire") || seen.hash == hash_of("snow"));
    if (seen.hash == hash_of("snow")) changed = GST_BUFFER_PTS(buffer.get());
  }
  const MessagePtr applied(source.element_message("flowcache-prompt", "applied"));
  ASSERT_TRUE(applied);
  EXPECT_EQ(field(applied.get(), "ticket"), ticket);
  EXPECT_EQ(field(applied.get(), "pts"), changed);
  EXPECT_EQ(field(applied.get(), "chunk") * 4, number);
  EXPECT_EQ(text(applied.get(), "prompt"), "snow");
}

// By property, signal and event. A blend's receipt has no such fields, and an unknown transition is not taken.
TEST(Prompt, ARecacheSaysWhatItCost) {
  Source source("prompt=fire max-chunks-ahead=1 prompt-transition=recache");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  const auto fields_of = [&](const std::string& prompt) {
    for (int i = 0; i < 60; ++i) {
      if (!BufferPtr(source.pull())) break;
      while (const MessagePtr message{
          gst_bus_pop_filtered(GST_ELEMENT_BUS(source.element()), GST_MESSAGE_ELEMENT)}) {
        const GstStructure* s = gst_message_get_structure(message.get());
        if (!gst_structure_has_name(s, "flowcache-prompt") || text(message.get(), "prompt") != prompt)
          continue;
        if (text(message.get(), "state") != "applied") continue;
        guint chunks = 0;
        double milliseconds = 0;
        const bool has = gst_structure_get_uint(s, "recached-chunks", &chunks) &&
                         gst_structure_get_double(s, "recache-ms", &milliseconds);
        return has ? std::to_string(chunks) + " in " + std::to_string(milliseconds) : std::string("none");
      }
    }
    return std::string("not applied");
  };
  const std::string cost = "3 in 12.500000";
  g_object_set(source.element(), "prompt", "snow", nullptr);
  EXPECT_EQ(fields_of("snow"), cost);
  g_object_set(source.element(), "prompt-transition", 0, "prompt", "stars", nullptr);
  EXPECT_EQ(fields_of("stars"), "none");
  gboolean taken = FALSE;
  g_signal_emit_by_name(source.element(), "set-prompt", "rain", G_MAXUINT, GST_CLOCK_TIME_NONE, &taken);
  EXPECT_TRUE(taken);
  EXPECT_EQ(fields_of("rain"), cost);
  const auto event = [&](const char* transition) {
    return gst_harness_push_upstream_event(
        source.harness(),
        gst_event_new_custom(GST_EVENT_CUSTOM_UPSTREAM,
                             gst_structure_new("flowcache/prompt", "prompt", G_TYPE_STRING, transition,
                                               "transition", G_TYPE_STRING, transition, nullptr)));
  };
  EXPECT_FALSE(event("wipe"));
  EXPECT_TRUE(event("recache"));
  EXPECT_EQ(fields_of("recache"), cost);
  EXPECT_TRUE(event("blend"));
  EXPECT_EQ(fields_of("blend"), "none");
}

TEST(Prompt, ARecacheThatTheStreamCannotIsRefusedWithTheSentence) {
  Source source("prompt=fire clean-context=off prompt-transition=recache");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  g_object_set(source.element(), "prompt", "snow", nullptr);
  const MessagePtr warning(source.message(GST_MESSAGE_WARNING));
  ASSERT_TRUE(warning);
  GError* error = nullptr;
  gst_message_parse_warning(warning.get(), &error, nullptr);
  EXPECT_STREQ(error->message, "a re-cache needs a clean pass; blend the prompt in");
  g_clear_error(&error);
}

TEST(Prompt, OverwrittenOneIsSaidToBeReplaced) {
  Hold hold(0);
  Source source("prompt=fire");
  source.play();
  for (const char* prompt : {"snow", "stars"}) {
    g_object_set(source.element(), "prompt", prompt, nullptr);
    // The engine takes the first one before or while it makes chunk 0, which the closed gate keeps from
    // ending.
  }
  hold.release();
  for (int i = 0; i < 24; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  const MessagePtr last(source.element_message("flowcache-prompt", "replaced"));
  ASSERT_TRUE(last);
  EXPECT_EQ(text(last.get(), "prompt").empty(), false);
  EXPECT_NE(text(last.get(), "prompt"), "stars");
}

// A text field may send a prompt for every key. Each prompt costs the engine time, so the engine gets only
// the last one.
TEST(Prompt, OfABurstOnlyTheLastReachesTheEngine) {
  Hold hold(1);
  Source source("prompt=fire max-chunks-ahead=1");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  const int before = element_test::fake().prompts_taken();
  std::string prompt = "s";
  for (int i = 0; i < 400; ++i) g_object_set(source.element(), "prompt", (prompt += "o").c_str(), nullptr);
  hold.release();
  for (int i = 0; i < 24; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_LE(element_test::fake().prompts_taken() - before,
            2);  // one may have been taken before the others were given
  int replaced = 0;
  while (GstMessage* message = gst_bus_pop_filtered(GST_ELEMENT_BUS(source.element()), GST_MESSAGE_ELEMENT)) {
    const std::string state = text(message, "state");
    replaced += state == "replaced";
    if (state == "applied") prompt = text(message, "prompt");
    gst_message_unref(message);
  }
  EXPECT_EQ(replaced, 399);  // every prompt gets an answer
  EXPECT_EQ(prompt, "s" + std::string(400, 'o'));
}

TEST(Prompt, UnknownWordsAreWarnedAbout) {
  Source source("prompt=\"a zzebra\"");
  source.play();
  const MessagePtr received(source.element_message("flowcache-prompt", "received"));
  ASSERT_TRUE(received);
  EXPECT_EQ(text(received.get(), "unknown-words"), "zzebra");
  const MessagePtr warning(source.message(GST_MESSAGE_WARNING));
  ASSERT_TRUE(warning);
  EXPECT_NE(text_of(warning.get()).find("zzebra"), std::string::npos);
}

TEST(Prompt, EmptyOneIsFine) {
  Source source("prompt=\"\"");
  source.play();
  const BufferPtr buffer(source.pull());
  ASSERT_TRUE(buffer);
  EXPECT_EQ(look_at(buffer.get(), source.info()).hash, hash_of(""));
}

TEST(Properties, DefaultsCanBeReadBack) {
  Source source("");
  double threshold = 0;
  guint64 seed = 1, latency = 0;
  g_autofree char* model = nullptr;
  g_object_get(source.element(), "cache-threshold", &threshold, "seed", &seed, "latency", &latency, "model",
               &model, nullptr);
  EXPECT_EQ(threshold, -1);
  EXPECT_EQ(seed, 0u);
  EXPECT_EQ(latency, GST_CLOCK_TIME_NONE);
  EXPECT_EQ(model, nullptr);
}

TEST(Properties, SeedReachesTheEngine) {
  for (const guint64 seed : {guint64{3}, guint64{G_MAXUINT64}}) {
    Source source("", "video/x-raw,format=RGBA");
    g_object_set(source.element(), "seed", seed, nullptr);
    source.play();
    const BufferPtr buffer(source.pull());
    ASSERT_TRUE(buffer);
    GstMapInfo map;
    ASSERT_TRUE(gst_buffer_map(buffer.get(), &map, GST_MAP_READ));
    EXPECT_EQ(map.data[map.size - 4], static_cast<uint8_t>(60 + seed * 37 % 150));  // the last pixel's red
    gst_buffer_unmap(buffer.get(), &map);
  }
}

TEST(Properties, CleanContextReachesTheEngine) {
  const std::pair<const char*, const char*> cases[] = {
      {"model", "fire"}, {"off", "fire clean 1"}, {"on", "fire clean 2"}};
  for (const auto& [value, painted] : cases) {
    Source source(std::string("prompt=fire clean-context=") + value);
    source.play();
    const BufferPtr buffer(source.pull());
    ASSERT_TRUE(buffer);
    EXPECT_EQ(look_at(buffer.get(), source.info()).hash, hash_of(painted)) << value;
  }
}

TEST(Properties, ThoseOfTheEngineReachIt) {
  const std::pair<const char*, const char*> cases[] = {
      {"device=cpu precision=bf16 kv-precision=int8 threads=3 memory-limit=9000000000 slice-tokens=256",
       "device=cpu precision=bf16 kv-precision=int8 threads=3 memory-limit=9000000000 slice-tokens=256"},
      {"", "device=auto precision=auto kv-precision=auto threads=0 memory-limit=0 slice-tokens=0"},
      {"precision=fp8 slice-tokens=4294967295 memory-limit=18446744073709551615",
       "device=auto precision=fp8 kv-precision=auto threads=0 memory-limit=18446744073709551615 "
       "slice-tokens=4294967295"}};
  for (const auto& [properties, opened] : cases) {
    Source source(properties);
    source.play();
    ASSERT_TRUE(BufferPtr(source.pull())) << properties;
    EXPECT_STREQ(fake().opened_with(), opened);
  }
}

TEST(Properties, StatsSayThePrecision) {
  Source source("precision=bf16");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  GstStructure* stats = nullptr;
  g_object_get(source.element(), "stats", &stats, nullptr);
  EXPECT_STREQ(gst_structure_get_string(stats, "precision"), "bf16");
  gst_structure_free(stats);
}

// Elements share an engine only if all properties that choose it are equal. A change in READY opens another
// engine.
TEST(Properties, ThoseOfTheEngineChooseIt) {
  Source first("precision=bf16");
  first.play();
  ASSERT_TRUE(BufferPtr(first.pull()));
  const int before = fake().opened_engines();
  Source same("precision=bf16");
  same.play();
  ASSERT_TRUE(BufferPtr(same.pull()));
  EXPECT_EQ(fake().opened_engines(), before);
  int opened = before;
  for (const char* other : {"precision=fp32", "precision=bf16 slice-tokens=8",
                            "precision=bf16 memory-limit=77", "precision=bf16 kv-precision=int8"}) {
    Source source(other);
    source.play();
    ASSERT_TRUE(BufferPtr(source.pull())) << other;
    EXPECT_EQ(fake().opened_engines(), ++opened) << other;
  }
  gst_element_set_state(same.element(), GST_STATE_READY);
  g_object_set(same.element(), "precision", "fp8", nullptr);
  same.play();
  ASSERT_TRUE(eventually([&] { return fake().opened_engines() == opened + 1; }));
  EXPECT_NE(std::string(fake().opened_with()).find("precision=fp8"), std::string::npos);
}

TEST(Properties, BadOnesOfTheEngineAreAnErrorThatNamesThem) {
  const struct {
    const char *properties, *said;
    GstResourceError code;
  } cases[] = {{"precision=fp4", "fp4", GST_RESOURCE_ERROR_SETTINGS},
               {"precision=FP32", "FP32", GST_RESOURCE_ERROR_SETTINGS},
               {"kv-precision=int4", "int4", GST_RESOURCE_ERROR_SETTINGS},
               {"model=fake:needs=5000 memory-limit=4999", "4999", GST_RESOURCE_ERROR_NO_SPACE_LEFT}};
  for (const auto& [properties, said, code] : cases) {
    Source source(properties);
    source.play();
    const MessagePtr message(source.message(GST_MESSAGE_ERROR));
    ASSERT_TRUE(message) << properties;
    GError* error = nullptr;
    gst_message_parse_error(message.get(), &error, nullptr);
    EXPECT_TRUE(g_error_matches(error, GST_RESOURCE_ERROR, code)) << properties;
    EXPECT_NE(std::string(error->message).find(said), std::string::npos) << error->message;
    g_clear_error(&error);
  }
  Source enough("model=fake:needs=5000 memory-limit=5000");
  enough.play();
  EXPECT_TRUE(BufferPtr(enough.pull()));
}

TEST(Properties, UnsetTextsAreTheDefault) {
  Source source("");
  for (const auto& [name, usual] :
       {std::pair("device", "auto"), std::pair("precision", "auto"), std::pair("kv-precision", "auto"),
        std::pair<const char*, const char*>("cache", nullptr)}) {
    for (const char* unset : {static_cast<const char*>(nullptr), ""}) {
      g_object_set(source.element(), name, "something", nullptr);
      g_object_set(source.element(), name, unset, nullptr);
      g_autofree char* now = nullptr;
      g_object_get(source.element(), name, &now, nullptr);
      EXPECT_STREQ(now, usual) << name;
    }
  }
}

TEST(Properties, ThresholdWhilePlayingIsInForceLater) {
  Source source("cache-threshold=0.25");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_EQ(stat_double(source.element(), "cache-threshold"), 0.25);
  g_object_set(source.element(), "cache-threshold", 0.5, nullptr);
  for (int i = 0; i < 24; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_EQ(stat_double(source.element(), "cache-threshold"), 0.5);
  g_object_set(source.element(), "cache-threshold", -1.0, nullptr);  // back to the model's default
  for (int i = 0; i < 24; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_EQ(stat_double(source.element(), "cache-threshold"), 0.1);
  g_object_set(source.element(), "cache-threshold", 0.0, nullptr);  // no reuse at all
  for (int i = 0; i < 24; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_EQ(stat_double(source.element(), "cache-threshold"), 0.0);
}

TEST(Properties, AThresholdOfZeroIsNoReuseFromTheStart) {
  Source source("cache-threshold=0");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_EQ(stat_double(source.element(), "cache-threshold"), 0.0);
}

TEST(Properties, RefusedChangeIsAWarningAndTheStreamGoesOn) {
  Source source("");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  g_object_set(source.element(), "guidance-scale", 5.0, nullptr);  // the stream was opened without guidance
  const MessagePtr warning(source.message(GST_MESSAGE_WARNING));
  ASSERT_TRUE(warning);
  EXPECT_NE(text_of(warning.get()).find("guidance"), std::string::npos);
  ASSERT_TRUE(BufferPtr(source.pull()));
}

TEST(Properties, UnknownPolicyNamesTheValue) {
  Source source("cache=magic");
  source.play();
  const MessagePtr error(source.message(GST_MESSAGE_ERROR));
  ASSERT_TRUE(error);
  EXPECT_NE(text_of(error.get()).find("magic"), std::string::npos);
}

// A curve sets a value at every frame. A refusal is reported once, and again only after a value was
// accepted.
TEST(Properties, RefusedCurveIsOneWarning) {
  Source source("max-chunks-ahead=1");
  source.play();
  const auto warnings = [&] {
    int count = 0;
    for (int i = 0; i < 40; ++i) {
      g_object_set(source.element(), "guidance-scale", 2.0 + i * 0.1, nullptr);
      EXPECT_TRUE(BufferPtr(source.pull()));
    }
    while (source.has_message(GST_MESSAGE_WARNING)) ++count;
    return count;
  };
  EXPECT_EQ(warnings(), 1);
  g_object_set(source.element(), "guidance-scale", 1.0, nullptr);
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_EQ(warnings(), 1);
  // The other value, which is accepted, is applied.
  g_object_set(source.element(), "cache-threshold", 0.75, "guidance-scale", 3.0, nullptr);
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_EQ(stat_double(source.element(), "cache-threshold"), 0.75);
}

// Values that hold from the next start do not change the statistics of the running stream.
TEST(Stats, SayWhatRuns) {
  Source source("max-chunks-ahead=2");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  g_object_set(source.element(), "max-chunks-ahead", 16u, "model", "fake:frames=9,fps_n=30", "is-live", FALSE,
               "timestamp-offset", gint64{5}, "num-buffers", 3, nullptr);
  EXPECT_EQ(stat(source.element(), "ring-capacity"), 8u);
  EXPECT_TRUE(gst_base_src_is_live(GST_BASE_SRC(source.element())));
  gint64 duration = 0;
  EXPECT_FALSE(gst_element_query_duration(source.element(), GST_FORMAT_TIME, &duration));
  const auto times = source.pull_times(6);
  ASSERT_EQ(times.size(), 6u);
  EXPECT_EQ(times.back(), 6 * kFrame);
  EXPECT_EQ(stat_double(source.element(), "native-fps"), 16);
}

TEST(Stats, ReuseRatioAndDroppedFrames) {
  Source source("max-chunks-ahead=2");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_EQ(stat_double(source.element(), "reuse-ratio"), 0.5);  // the fake reuses two of four steps
  EXPECT_EQ(stat(source.element(), "dropped"), 0u);
  ASSERT_TRUE(eventually([&] { return stat(source.element(), "ring-level") == 7; }));
  g_signal_emit_by_name(source.element(), "reset", guint64{3});
  EXPECT_EQ(stat(source.element(), "dropped"), 7u);
  EXPECT_EQ(stat(source.element(), "gpu-memory-total"), 0u);  // no driver here
}

TEST(Stats, CountAndSayWhereMemoryIs) {
  Source source("stats-interval=500000000 max-chunks-ahead=8");
  source.play();
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(BufferPtr(source.pull()));
  EXPECT_GE(stat(source.element(), "frames"), 12u);
  EXPECT_GT(stat(source.element(), "chunks"), 0u);
  EXPECT_GT(stat(source.element(), "steps-computed"), 0u);
  EXPECT_GT(stat(source.element(), "kv-budget"), 0u);
  EXPECT_EQ(stat(source.element(), "ring-capacity"), 32u);
  EXPECT_EQ(stat(source.element(), "underruns"), 0u);
  EXPECT_EQ(stat_double(source.element(), "native-fps"), 16);
  const MessagePtr message(source.element_message("flowcache-stats"));
  ASSERT_TRUE(message);
  EXPECT_EQ(text(message.get(), "memory-path"), "system");
  EXPECT_EQ(text(message.get(), "device"), "cpu");
}

}  // namespace
