// SPDX-License-Identifier: LGPL-2.1-or-later
// LoRAs that are set before the stream begins and while it plays.
#include "element_test.h"

using namespace element_test;

namespace {

std::string text(const MessagePtr& message, const char* name) {
  const char* value = gst_structure_get_string(gst_message_get_structure(message.get()), name);
  return value == nullptr ? "" : value;
}
guint64 number(const MessagePtr& message, const char* name) {
  guint64 value = G_MAXUINT64;
  gst_structure_get_uint64(gst_message_get_structure(message.get()), name, &value);
  return value;
}
void set_lora(Source& source, const char* list) {
  g_object_set(source.element(), "lora", list, nullptr);
}
MessagePtr lora_message(Source& source, const char* state) {
  return MessagePtr(source.element_message("flowcache-lora", state));
}

// The picture of the next frame that shows this; at most 60 are taken.
bool shows(Source& source, const std::string& content) {
  for (int i = 0; i < 60; ++i) {
    const BufferPtr buffer(source.pull());
    if (buffer && look_at(buffer.get(), source.info()).hash == hash_of(content)) return true;
  }
  return false;
}

TEST(Lora, SetBeforeTheStreamItIsInTheFirstChunk) {
  Source source("prompt=fire lora=style:0.5");
  source.play();
  const BufferPtr first(source.pull());
  ASSERT_TRUE(first);
  EXPECT_EQ(look_at(first.get(), source.info()).hash, hash_of("fire with style:0.5"));
  const MessagePtr applied = lora_message(source, "applied");
  ASSERT_TRUE(applied);
  EXPECT_EQ(text(applied, "lora"), "style:0.5");
  EXPECT_EQ(number(applied, "chunk"), 0u);
  EXPECT_EQ(number(applied, "pts"), 0u);
  gdouble seconds = -1;
  EXPECT_TRUE(gst_structure_get_double(gst_message_get_structure(applied.get()), "seconds", &seconds));
  EXPECT_GE(seconds, 0);
}

TEST(Lora, ChangesAndGoesWhilePlaying) {
  Source source("prompt=fire max-chunks-ahead=1");
  source.play();
  EXPECT_TRUE(shows(source, "fire"));
  set_lora(source, "style");
  EXPECT_TRUE(shows(source, "fire with style"));
  const MessagePtr received = lora_message(source, "received"), applied = lora_message(source, "applied");
  ASSERT_TRUE(received && applied);
  EXPECT_EQ(number(received, "ticket"), number(applied, "ticket"));
  const guint64 frames_a_chunk = 4;
  EXPECT_EQ(number(applied, "pts"),
            gst_util_uint64_scale(number(applied, "chunk") * frames_a_chunk, GST_SECOND, 16));
  set_lora(source, nullptr);
  EXPECT_TRUE(shows(source, "fire"));
  EXPECT_EQ(text(lora_message(source, "applied"), "lora"), "");
}

TEST(Lora, RefusedTheStreamGoesOnAndTheMessageSaysWhy) {
  Source source("prompt=fire lora=bad");
  source.play();
  EXPECT_TRUE(shows(source, "fire"));  // also from the start
  EXPECT_NE(text(lora_message(source, "refused"), "reason").find("DoRA"), std::string::npos);
  ASSERT_TRUE(MessagePtr(source.message(GST_MESSAGE_WARNING)));
  set_lora(source, "style");
  EXPECT_TRUE(shows(source, "fire with style"));
  set_lora(source, "also bad");
  EXPECT_EQ(text(lora_message(source, "refused"), "lora"), "also bad");
  EXPECT_TRUE(shows(source, "fire with style"));
}

// The stand-in reads this list until two more chunks are made: were it read by the worker, there would be none.
TEST(Lora, NoFrameWaitsWhileAListIsRead) {
  Source source("prompt=fire max-chunks-ahead=1");
  source.play();
  EXPECT_TRUE(shows(source, "fire"));
  set_lora(source, "slow");
  EXPECT_TRUE(shows(source, "fire with slow"));
}

TEST(Lora, AResetKeepsIt) {
  Source source("prompt=fire lora=style max-chunks-ahead=1");
  source.play();
  EXPECT_TRUE(shows(source, "fire with style"));
  g_signal_emit_by_name(source.element(), "reset", guint64{7});
  const BufferPtr buffer(source.pull());
  ASSERT_TRUE(buffer);
  EXPECT_TRUE(shows(source, "fire with style"));
}

// Nothing makes chunks any more, so the list would never be read to its end.
TEST(Lora, StoppingDoesNotWaitForAListThatIsRead) {
  Source source("prompt=fire max-chunks-ahead=1");
  source.play();
  ASSERT_TRUE(BufferPtr(source.pull()));
  set_lora(source, "slow one");
  set_lora(source, "slow other");
  gst_element_set_state(source.element(), GST_STATE_NULL);
  EXPECT_EQ(fake().live_streams(), 0);
}

}  // namespace
