// SPDX-License-Identifier: LGPL-2.1-or-later
// Values that make no sense.
#include <cmath>

#include "element_test.h"

using namespace element_test;

namespace {

TEST(Prompt, BadOnesWhilePlayingLeaveTheOldOne) {
  Source source("prompt=fire");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  const std::string longest(10240, 'x');
  for (const char* bad : {longest.c_str(), "bro\xffken"}) {
    g_object_set(source.element(), "prompt", bad, nullptr);
    const MessagePtr warning(source.message(GST_MESSAGE_WARNING));
    ASSERT_TRUE(warning);
    EXPECT_TRUE(g_utf8_validate(text_of(warning.get()).c_str(), -1, nullptr));
    g_autofree char* prompt = nullptr;
    g_object_get(source.element(), "prompt", &prompt, nullptr);
    EXPECT_STREQ(prompt, "fire");
  }
  ASSERT_TRUE(BufferPtr(source.pull()));
}

TEST(Prompt, BadOnesBeforePlayingAreAnError) {
  const std::string longest(10240, 'x');
  for (const char* bad : {longest.c_str(), "bro\xffken"}) {
    Source source("");
    g_object_set(source.element(), "prompt", bad, nullptr);
    EXPECT_EQ(gst_element_set_state(source.element(), GST_STATE_PLAYING), GST_STATE_CHANGE_FAILURE);
    const MessagePtr error(source.message(GST_MESSAGE_ERROR));
    ASSERT_TRUE(error);
    EXPECT_NE(text_of(error.get()).find("prompt"), std::string::npos);
  }
}

TEST(Properties, HostileNumbersAreIgnored) {
  Source source("cache-threshold=0.25");
  for (const double bad : {std::nan(""), -0.5}) {
    g_object_set(source.element(), "cache-threshold", bad, nullptr);
    double now = 0;
    g_object_get(source.element(), "cache-threshold", &now, nullptr);
    EXPECT_EQ(now, 0.25) << bad;
  }
}

TEST(Properties, HostileTextsAreAnErrorNotACrash) {
  for (const char* name :
       {"model", "cache", "kv-cache", "negative-prompt", "device", "precision", "kv-precision"}) {
    Source source("");
    g_object_set(source.element(), name, "\xff\xfe\x01%s%n", nullptr);
    gst_element_set_state(source.element(), GST_STATE_PLAYING);
    const MessagePtr error(source.message(GST_MESSAGE_ERROR));
    ASSERT_TRUE(error) << name;
    EXPECT_TRUE(g_utf8_validate(text_of(error.get()).c_str(), -1, nullptr)) << name;
  }
}

// Control characters are allowed: they reach the engine and come back unchanged.
TEST(Prompt, ControlCharactersAreFine) {
  const std::string odd = "fire\a\x1b[31m\t\r\n\x7f \xe2\x80\xae \xef\xbf\xbe %s%n";
  Source source("sei=true");
  g_object_set(source.element(), "prompt", odd.c_str(), nullptr);
  source.play();
  const BufferPtr buffer(source.pull());
  ASSERT_TRUE(buffer);
  EXPECT_EQ(look_at(buffer.get(), source.info()).hash, hash_of(odd));
  const MessagePtr applied(source.element_message("flowcache-prompt", "applied"));
  ASSERT_TRUE(applied);
  EXPECT_STREQ(gst_structure_get_string(gst_message_get_structure(applied.get()), "prompt"), odd.c_str());
}

// The worst values that GObject accepts for this property.
std::vector<GValue> hostile_values(GParamSpec* spec) {
  std::vector<GValue> values;
  const auto add = [&](auto set) {
    GValue value = G_VALUE_INIT;
    g_value_init(&value, spec->value_type);
    set(&value);
    values.push_back(value);
  };
  if (G_IS_PARAM_SPEC_STRING(spec)) {
    const std::string endless(1 << 20, 'x');
    for (const char* text :
         {"", "\xff\xfe", "\x01\x1b\n", "%s%n%s%n", "/dev/null", "../../../../etc", endless.c_str()})
      add([&](GValue* value) { g_value_set_string(value, text); });
    add([](GValue* value) { g_value_set_string(value, nullptr); });
  } else if (G_IS_PARAM_SPEC_DOUBLE(spec)) {
    for (const double number : {HUGE_VAL, -HUGE_VAL, std::nan(""), 1e-310, -0.0})
      add([&](GValue* value) { g_value_set_double(value, number); });
  } else if (G_IS_PARAM_SPEC_UINT(spec)) {
    for (const guint number : {0u, 1u, G_MAXUINT})
      add([&](GValue* value) { g_value_set_uint(value, number); });
  } else if (G_IS_PARAM_SPEC_UINT64(spec)) {
    for (const guint64 number : {guint64{0}, guint64{1}, G_MAXUINT64 - 1, G_MAXUINT64})
      add([&](GValue* value) { g_value_set_uint64(value, number); });
  } else if (G_IS_PARAM_SPEC_INT64(spec)) {
    for (const gint64 number : {G_MININT64, G_MAXINT64})
      add([&](GValue* value) { g_value_set_int64(value, number); });
  } else if (G_IS_PARAM_SPEC_ENUM(spec)) {
    for (const gint number : {-1, 3, G_MAXINT}) add([&](GValue* value) { g_value_set_enum(value, number); });
  } else if (G_IS_PARAM_SPEC_BOOLEAN(spec)) {
    for (const gint truth : {2, -1, 0}) add([&](GValue* value) { value->data[0].v_int = truth; });
  }
  return values;
}

// Sets every property to its worst values, before playing and while playing. The result is a frame or one
// clear error, but never a crash or a critical message (main.cpp makes those fatal).
TEST(Properties, HostileValuesOfEveryOneArePlayedOrRefused) {
  guint count = 0, tried = 0;
  Source any("");
  GParamSpec** specs = g_object_class_list_properties(G_OBJECT_GET_CLASS(any.element()), &count);
  for (guint i = 0; i < count; ++i) {
    if (specs[i]->owner_type != G_OBJECT_TYPE(any.element()) || (specs[i]->flags & G_PARAM_WRITABLE) == 0)
      continue;
    auto values = hostile_values(specs[i]);
    EXPECT_FALSE(values.empty()) << specs[i]->name << " has no hostile values here";
    for (GValue& value : values) {
      g_autofree char* text = g_strdup_value_contents(&value);
      SCOPED_TRACE(std::string(specs[i]->name) + " = " + std::string(text).substr(0, 40));
      Source source("max-chunks-ahead=1");
      g_object_set_property(G_OBJECT(source.element()), specs[i]->name, &value);
      gst_element_set_state(source.element(), GST_STATE_PLAYING);
      EXPECT_TRUE(eventually(
          [&] { return stat(source.element(), "ring-level") > 0 || source.has_message(GST_MESSAGE_ERROR); }));
      g_object_set_property(G_OBJECT(source.element()), specs[i]->name, &value);
      GValue back = G_VALUE_INIT;
      g_value_init(&back, specs[i]->value_type);
      g_object_get_property(G_OBJECT(source.element()), specs[i]->name, &back);
      g_value_unset(&back);
      g_value_unset(&value);
      ++tried;
    }
  }
  g_free(specs);
  EXPECT_GT(tried, 80u);
}

}  // namespace
