// SPDX-License-Identifier: LGPL-2.1-or-later
// Prompts that come as a stream of text buffers.
#include <glib/gstdio.h>
#include <gst/app/gstappsink.h>

#include <thread>

#include "element_test.h"

using namespace element_test;

namespace {

// The pad `prompt` of a source. The test's own thread pushes into it.
class TextPad {
 public:
  TextPad(GstElement* element, const char* format, GstClockTime base = 0) : element_(element) {
    pad_ = gst_element_request_pad_simple(element, "prompt");
    gst_pad_send_event(pad_, gst_event_new_stream_start("text"));
    GstCaps* caps = gst_caps_new_simple("text/x-raw", "format", G_TYPE_STRING, format, nullptr);
    gst_pad_send_event(pad_, gst_event_new_caps(caps));
    gst_caps_unref(caps);
    GstSegment segment;
    gst_segment_init(&segment, GST_FORMAT_TIME);
    segment.base = base;
    gst_pad_send_event(pad_, gst_event_new_segment(&segment));
  }
  ~TextPad() {
    gst_element_release_request_pad(element_, pad_);
    gst_object_unref(pad_);
  }
  TextPad(const TextPad&) = delete;
  TextPad& operator=(const TextPad&) = delete;

  GstFlowReturn push(const std::string& text, GstClockTime pts) {
    GstBuffer* buffer = text.empty() ? gst_buffer_new() : gst_buffer_new_memdup(text.data(), text.size());
    GST_BUFFER_PTS(buffer) = pts;
    GST_BUFFER_DURATION(buffer) = GST_MSECOND;
    return gst_pad_chain(pad_, buffer);
  }
  bool event(GstEvent* event) { return gst_pad_send_event(pad_, event) != FALSE; }
  GstPad* pad() const { return pad_; }

 private:
  GstElement* element_;
  GstPad* pad_;
};

std::vector<uint32_t> shown_prompts(Source& source, int frames) {
  std::vector<uint32_t> seen;
  for (int i = 0; i < frames; ++i) {
    const BufferPtr buffer(source.pull());
    if (!buffer) break;
    seen.push_back(look_at(buffer.get(), source.info()).hash);
  }
  return seen;
}

std::vector<uint32_t> prompt_runs(std::vector<std::pair<int, const char*>> runs) {
  std::vector<uint32_t> all;
  for (const auto& [count, prompt] : runs) all.insert(all.end(), count, hash_of(prompt));
  return all;
}

std::string prompt_of(Source& source) {
  g_autofree char* prompt = nullptr;
  g_object_get(source.element(), "prompt", &prompt, nullptr);
  return prompt;
}

// A chunk has 4 frames of 1/16 s. Gaps and the end of the text change nothing; an empty text returns to
// `prompt`.
TEST(PromptPad, EachBufferIsAPromptAtItsRunningTime) {
  Hold hold(0);
  Source source("prompt=fire");
  TextPad text(source.element(), "pango-markup", GST_SECOND);
  source.play();
  EXPECT_EQ(text.push("<b>blue</b>\nsnow &amp; ice", 0), GST_FLOW_OK);
  EXPECT_TRUE(text.event(gst_event_new_gap(GST_SECOND, GST_SECOND)));
  EXPECT_EQ(text.push("", GST_SECOND), GST_FLOW_OK);
  EXPECT_EQ(text.push("stars", 2 * GST_SECOND), GST_FLOW_OK);
  EXPECT_TRUE(text.event(gst_event_new_eos()));
  hold.release();
  EXPECT_EQ(shown_prompts(source, 64),
            prompt_runs({{16, "fire"}, {16, "blue snow & ice"}, {16, "fire"}, {16, "stars"}}));
  EXPECT_EQ(prompt_of(source), "fire");
}

TEST(PromptPad, PlainTextIsTakenAsItIs) {
  Hold hold(0);
  Source source("prompt=fire");
  TextPad text(source.element(), "utf8");
  source.play();
  EXPECT_EQ(text.push(" 1 < 2\n<b> ", GST_CLOCK_TIME_NONE), GST_FLOW_OK);  // without a time: at once
  hold.release();
  EXPECT_EQ(shown_prompts(source, 8).back(), hash_of("1 < 2 <b>"));
}

TEST(PromptPad, BadTextIsRefusedAndTheStreamGoesOn) {
  Source source("prompt=fire");
  TextPad text(source.element(), "utf8");
  source.play();
  EXPECT_EQ(text.push("a\xff", 0), GST_FLOW_OK);
  const MessagePtr warning(source.message(GST_MESSAGE_WARNING));
  ASSERT_TRUE(warning);
  EXPECT_NE(text_of(warning.get()).find("UTF-8"), std::string::npos);
  EXPECT_EQ(shown_prompts(source, 4), prompt_runs({{4, "fire"}}));
}

TEST(PromptPad, FlushForgetsWhatHasNotCome) {
  Hold hold(0);
  Source source("prompt=fire");
  TextPad text(source.element(), "utf8");
  source.play();
  EXPECT_EQ(text.push("snow", GST_SECOND), GST_FLOW_OK);
  gboolean accepted = FALSE;  // prompts that did not come from the stream stay
  g_signal_emit_by_name(source.element(), "set-prompt", "stars", 0u, 2 * GST_SECOND, &accepted);
  EXPECT_TRUE(text.event(gst_event_new_flush_start()));
  EXPECT_EQ(text.push("ice", GST_SECOND), GST_FLOW_FLUSHING);
  EXPECT_TRUE(text.event(gst_event_new_flush_stop(TRUE)));
  hold.release();
  EXPECT_EQ(shown_prompts(source, 36), prompt_runs({{32, "fire"}, {4, "stars"}}));
}

// A text that is read faster than it is shown has to wait; the number of kept prompts is limited. Closing
// the pad ends the wait.
TEST(PromptPad, HoldsUpWhatIsFarAhead) {
  for (const bool stop : {false, true}) {
    Hold hold(0);
    Source source("prompt=fire");
    TextPad text(source.element(), "utf8");
    source.play();
    std::atomic<int> pushed{0};
    std::atomic<GstFlowReturn> last{GST_FLOW_OK};
    std::thread reader([&] {
      for (int i = 0; i < 100 && last == GST_FLOW_OK; ++i, ++pushed) {
        last = text.push("p" + std::to_string(i), (i + 3) * 4 * kFrame);
      }
    });
    ASSERT_TRUE(eventually([&] { return pushed == 64; }));
    g_usleep(20000);
    EXPECT_EQ(pushed, 64);
    hold.release();
    if (stop) {
      gst_element_set_state(source.element(), GST_STATE_NULL);
    } else {
      EXPECT_EQ(shown_prompts(source, 103 * 4).back(), hash_of("p99"));
    }
    reader.join();
    EXPECT_EQ(last, stop ? GST_FLOW_FLUSHING : GST_FLOW_OK);
  }
}

TEST(PromptPad, ThereIsOne) {
  Source source("");
  TextPad text(source.element(), "utf8");
  GstPadTemplate* pads = gst_element_get_pad_template(source.element(), "prompt");
  EXPECT_EQ(gst_element_request_pad(source.element(), pads, nullptr, nullptr), nullptr);
}

// A subtitle file, read by GStreamer's own parser. Its end does not end the video.
TEST(PromptPad, TakesSubtitlesFromSubparse) {
  g_autofree char* path = g_build_filename(g_get_tmp_dir(), "flowcache-prompt-pad.srt", nullptr);
  ASSERT_TRUE(g_file_set_contents(path, "1\n00:00:00,000 --> 00:00:01,000\n<i>snow</i>\n\n", -1, nullptr));
  GstElement* pipeline = gst_parse_launch(
      (std::string(
           "flowcachesrc name=s model=fake:load_ms=300 prompt=fire num-buffers=24 ! fakesink sync=false "
           "filesrc location=") +
       path + " ! subparse ! s.prompt")
          .c_str(),
      nullptr);
  GstBus* bus = gst_element_get_bus(pipeline);
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
  std::string shown;
  while (true) {
    const MessagePtr message(gst_bus_timed_pop_filtered(
        bus, 20 * GST_SECOND,
        static_cast<GstMessageType>(GST_MESSAGE_EOS | GST_MESSAGE_ERROR | GST_MESSAGE_ELEMENT)));
    ASSERT_TRUE(message);
    if (GST_MESSAGE_TYPE(message.get()) != GST_MESSAGE_ELEMENT) {
      EXPECT_EQ(GST_MESSAGE_TYPE(message.get()), GST_MESSAGE_EOS);
      break;
    }
    const GstStructure* s = gst_message_get_structure(message.get());
    if (g_strcmp0(gst_structure_get_string(s, "state"), "applied") == 0)
      shown = gst_structure_get_string(s, "prompt");
  }
  EXPECT_EQ(shown, "snow");
  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(bus);
  gst_object_unref(pipeline);
  g_remove(path);
}

}  // namespace
