// SPDX-License-Identifier: LGPL-2.1-or-later
// Prompts from a subtitle file: how it is read, when each prompt is shown, and files that are not subtitles.
#include <glib/gstdio.h>

#include <algorithm>

#include "../../gst-plugin/script.h"
#include "element_test.h"
#include "script_file.h"

using namespace element_test;
using flowcache::gst::Cue;
using flowcache::gst::load_script;
using flowcache::gst::plain_text;

namespace {

constexpr const char* kSrt =
    "1\n00:00:00,000 --> 00:00:00,400\nfire\n\n"
    "2\n00:00:01,000 --> 00:00:01,400\nsnow &\n<i>ice</i>\n\n"
    "3\n00:00:02,010 --> 00:00:03,000\nstars\n\n";

TEST(Script, ReadsSrt) {
  const ScriptFile file(kSrt);
  std::string error;
  const std::vector<Cue> cues = load_script(file.path(), &error).cues;
  EXPECT_EQ(error, "");
  ASSERT_EQ(cues.size(), 3u);
  EXPECT_EQ(cues[0].text, "fire");
  EXPECT_EQ(cues[1].text, "snow & ice");
  EXPECT_EQ(cues[1].start, GST_SECOND);
  EXPECT_EQ(cues[2].start, 2010 * GST_MSECOND);
}

TEST(Script, ReadsWebVtt) {
  const ScriptFile file(
      "WEBVTT\n\nNOTE a remark\n\nintro\n00:01.500 --> 00:02.000 line:0\n<v Ann>snow\n\n"
      "01:00:00.000 --> 01:00:01.000\n<00:00:19.000>stars &amp; moon\n");
  std::string error;
  const std::vector<Cue> cues = load_script(file.path(), &error).cues;
  EXPECT_EQ(error, "");
  ASSERT_EQ(cues.size(), 2u);
  EXPECT_EQ(cues[0].text, "snow");
  EXPECT_EQ(cues[0].start, 1500 * GST_MSECOND);
  EXPECT_EQ(cues[1].text, "stars & moon");
  EXPECT_EQ(cues[1].start, 3600 * GST_SECOND);
}

TEST(Script, MarkupBecomesPlainText) {
  EXPECT_EQ(plain_text("  a\n\tb  "), "a b");
  EXPECT_EQ(plain_text("<b>a</b> &lt;c&gt;  &amp;amp; d"), "a <c> &amp; d");
  EXPECT_EQ(plain_text("1 < 2 and 3 > 2"), "1 < 2 and 3 > 2");
  EXPECT_EQ(plain_text("we <3 snow > rain"), "we <3 snow > rain");
  EXPECT_EQ(plain_text("<v Ann>a</v> <00:00:01.000><c.red>b</c>"), "a b");
  EXPECT_EQ(plain_text("{\\an8}{\\i1}a{\\i0} b {y:i}c"), "a b c");
  EXPECT_EQ(plain_text("{a set} and {an open one <i"), "{a set} and {an open one <i");
  EXPECT_EQ(plain_text(""), "");
}

// Reads a script and returns "start:text …", or the error.
std::string read(const std::string& content) {
  const ScriptFile file(content);
  std::string error, all;
  for (const Cue& cue : load_script(file.path(), &error).cues) {
    all += (all.empty() ? "" : " ") + std::to_string(cue.start / GST_MSECOND) + ":" + cue.text;
  }
  return all + error;
}

// In an untidy file every cue is still a prompt, in the order of time.
TEST(Script, UntidyFilesLoseNothing) {
  const char* wanted = "0:fire 1000:snow 2000:stars";
  const struct {
    const char* what;
    std::string content;
  } files[] = {
      {"overlap",
       "1\n00:00:00,000 --> 00:00:09,000\nfire\n\n2\n00:00:01,000 --> 00:00:02,000\nsnow\n\n"
       "3\n00:00:02,000 --> 00:00:03,000\nstars\n"},
      {"out of order",
       "1\n00:00:02,000 --> 00:00:03,000\nstars\n\n2\n00:00:00,000 --> 00:00:01,000\nfire\n\n"
       "3\n00:00:01,000 --> 00:00:02,000\nsnow\n"},
      {"blanks behind and before",
       "1 \n 00:00:00,000  -->\t00:00:01,000 \nfire \n  \n\t2\n00:00:01,000 --> 00:00:02,000\n snow\n\n"
       "3\n00:00:02,000 --> 00:00:03,000\nstars"},
      {"no numbers, no blanks around the arrow",
       "00:00:00,000-->00:00:01,000\nfire\n\n00:00:01,000-->00:00:02,000\nsnow\n\n"
       "00:00:02,000-->00:00:03,000\nstars\n"},
      {"no blank lines",
       "1\n00:00:00,000 --> 00:00:01,000\nfire\n2\n00:00:01,000 --> 00:00:02,000\nsnow\n3\n"
       "00:00:02,000 --> 00:00:03,000\nstars\n"},
      {"blank lines before numbers, times and texts",
       "\n\n1\n\n00:00:00,000 --> 00:00:01,000\n\nfire\n\n\n2\n\n00:00:01,000 --> 00:00:02,000\n\nsnow\n\n"
       "3\n00:00:02,000 --> 00:00:03,000\n\n\nstars\n\n"},
      {"short times, dots, places",
       "1\n0:00.0 --> 0:01 X1:10 X2:20\nfire\n\n2\n0:0:1.000 --> 0:0:2\nsnow\n\n"
       "3\n00:02,0000 --> 00:03,000000000\nstars\n"},
      {"marks of byte order, also where files were put together",
       "\xef\xbb\xbf"
       "1\n00:00:00,000 --> 00:00:01,000\nfire\n\n\xef\xbb\xbf"
       "1\n00:00:01,000 --> 00:00:02,000\n"
       "snow\n\n\xef\xbb\xbf"
       "00:00:02,000 --> 00:00:03,000\nst\xef\xbb\xbf"
       "ars\n"},
      {"tags",
       "1\n00:00:00,000 --> 00:00:01,000\n{\\an8}<i>fire</i>\n\n2\n00:00:01,000 --> 00:00:02,000\n"
       "{\\i1}snow{\\i0}\n\n3\n00:00:02,000 --> 00:00:03,000\n<font color=\"red\">stars</font>\n"},
      {"other line ends",
       "1\r\n00:00:00,000 --> 00:00:01,000\r\nfire\r\n\r\n2\r00:00:01,000 --> 00:00:02,000\r"
       "snow\r\r3\n00:00:02,000 --> 00:00:03,000\nstars"},
      {"WebVTT",
       "WEBVTT - title\nKind: captions\n\nSTYLE\n::cue { color: red }\n\nNOTE\nnothing\n\nfirst\n"
       "00:00.000 --> 00:01.000 line:0 align:start\nfire\n\n00:01.000 --> 00:02.000\nsnow\n"
       "00:02.000 --> 00:03.000\nstars\n"},
  };
  for (const auto& one : files) EXPECT_EQ(read(one.content), wanted) << one.what;
  std::string wide("\xff\xfe", 2);
  for (const char c : std::string("1\n00:00:00,000 --> 00:00:01,000\nfire\n")) wide += {c, '\0'};
  EXPECT_EQ(read(wide), "0:fire");
}

TEST(Script, TextsMayHaveBlankLinesAndNumbers) {
  EXPECT_EQ(
      read("1\n00:00:00,000 --> 00:00:01,000\nfire\n\nand smoke\n\n2\n00:00:01,000 --> 00:00:02,000\n1984\n\n"
           "00:00:02,000 --> 00:00:03,000\n12:30 at the station\n7\n"),
      "0:fire and smoke 1000:1984 2000:12:30 at the station 7");
}

// A line that is not part of a proper cue is named by its number.
TEST(Script, LinesThatCannotBeReadAreNamed) {
  const struct {
    const char* content;
    const char* line;
  } files[] = {
      {"1\n00:00:00,000 --> 00:00:01,000\nfire\n\n2\n00:00:01,000 -> 00:00:02,000\nsnow\n", "line 6"},
      {"1\n00:00:00,000 --> 00:00:01,000\nfire --> snow\n", "line 3"},
      {"1\n00:00:00,000 --> 00:61:00,000\nfire\n", "line 2"},
      {"1\n00:00:00,000 -->\nfire\n", "line 2"},
      {"1\n00:00:02,000 --> 00:00:01,000\nfire\n", "ends before it begins in line 2"},
      {"a title\n\n1\n00:00:00,000 --> 00:00:01,000\nfire\n", "text before the first time in line 1"},
      {"1\n00:00:00,000 --> 00:00:01,000\nfire\n\n2\n", "number that has no time in line 5"},
      {"1\n00:00:00,000 --> 00:00:01,000\nfire\n\n2\n00:00:01,000 --> 00:00:02,000\na\xff\n", "line 6"},
      {"WEBVTT\n\n00:00.000 --> 00:01.000\nfire\n\nsnow\n\n00:02.000 --> 00:03.000\nstars\n",
       "text without a time in line 6"},
      {"WEBVTT\n\n99999999999:00:00.000 --> 00:01.000\nfire\n", "line 3"},
  };
  for (const auto& one : files)
    EXPECT_NE(read(one.content).find(one.line), std::string::npos) << read(one.content);
}

// Cues that show nothing are named, and the script still plays.
TEST(Script, CuesThatShowNothingAreWarnedAbout) {
  const ScriptFile file(
      "1\n00:00:00,000 --> 00:00:01,000\nfire\n\n2\n00:00:01,000 --> 00:00:01,010\n<i></i>\n\n"
      "3\n00:00:02,010 --> 00:00:02,020\nsnow\n\n4\n00:00:02,020 --> 00:00:03,000\nstars\n");
  Source source("");
  g_object_set(source.element(), "script-location", file.path(), nullptr);
  source.play();
  for (const char* said : {"line 6 has no text", "line 10 is not shown: the one in line 14"}) {
    const MessagePtr warning(source.message(GST_MESSAGE_WARNING));
    ASSERT_TRUE(warning);
    EXPECT_NE(text_of(warning.get()).find(said), std::string::npos) << text_of(warning.get());
  }
  EXPECT_FALSE(source.has_message(GST_MESSAGE_WARNING));
}

// Tags that do not end, and byte order marks: each of them once took a search of the rest of the file, minutes in all.
TEST(Script, LargeHostileFilesAreReadInOnePass) {
  const gint64 begin = g_get_monotonic_time();
  for (const char* piece : {"<", "<a", "<1", "{a:", "{\\", "\xef\xbb\xbf", "&"}) {
    std::string text = "1\n00:00:00,000 --> 00:00:01,000\n";
    while (text.size() < (4 << 20) - 100) text += piece;
    const ScriptFile file(text);
    std::string error;
    load_script(file.path(), &error);
    EXPECT_NE(error, "") << piece;  // no prompt is that long, and marks alone are none
  }
  EXPECT_LT(g_get_monotonic_time() - begin, 20 * G_TIME_SPAN_SECOND);
}

TEST(Script, FilesThatAreNoSubtitlesSayWhatIsWrong) {
  struct Bad {
    std::string content, text;
  };
  const std::string bytes =
      "\x7f"
      "ELF\x01\xff\xfe garbage \x00\x01";
  const std::vector<Bad> files = {
      {"hello world, this is no subtitle\nat all\n", "neither SRT nor WebVTT"},
      {bytes + std::string(5000, '\x93'), "neither SRT nor WebVTT"},
      {"", "no cues"},
      {"{\"width\": 64}\n", "neither SRT nor WebVTT"},
      {"1\n00:00:00,000 --> 00:00:01,000\n<i></i>\n\n", "no cues with text"},
      {"1\n00:00:00,000 --> 00:00:01,000\n" + std::string(9000, 'x') + "\n\n", "the limit is 8192"},
      {std::string(5 << 20, 'x'), "the limit is 4194304"}};
  for (const Bad& bad : files) {
    const ScriptFile file(bad.content);
    std::string error;
    EXPECT_TRUE(load_script(file.path(), &error).cues.empty()) << bad.text;
    EXPECT_NE(error.find(bad.text), std::string::npos) << error;
    EXPECT_NE(error.find(file.path()), std::string::npos) << error;
  }
  for (const char* path : {"/no/such/file.srt", "/", "/dev/zero", "\xff"}) {
    std::string error;
    EXPECT_TRUE(load_script(path, &error).cues.empty()) << path;
    EXPECT_TRUE(g_utf8_validate(error.c_str(), -1, nullptr));
    EXPECT_NE(error.find("script"), std::string::npos) << error;
  }
}

TEST(Script, FileThatIsNoneStopsThePipelineWithOneError) {
  const ScriptFile file("no subtitle\n");
  Source source("");
  g_object_set(source.element(), "script-location", file.path(), nullptr);
  EXPECT_EQ(gst_element_set_state(source.element(), GST_STATE_READY), GST_STATE_CHANGE_FAILURE);
  const MessagePtr error(source.message(GST_MESSAGE_ERROR));
  ASSERT_TRUE(error);
  EXPECT_NE(text_of(error.get()).find("neither SRT nor WebVTT"), std::string::npos);
}

// The prompt of each frame, as painted.
std::vector<uint32_t> hashes(Source& source, int frames) {
  std::vector<uint32_t> seen;
  for (int i = 0; i < frames; ++i) {
    const BufferPtr buffer(source.pull());
    if (!buffer) break;
    seen.push_back(look_at(buffer.get(), source.info()).hash);
  }
  return seen;
}

std::vector<uint32_t> expected(std::vector<std::pair<int, const char*>> runs) {
  std::vector<uint32_t> all;
  for (const auto& [count, prompt] : runs) all.insert(all.end(), count, hash_of(prompt));
  return all;
}

// A chunk has 4 frames of 1/16 s. Chunk 4 begins at 1 s; 2.01 s is inside chunk 8.
TEST(Script, PromptsChangeAtExactFrames) {
  const ScriptFile file(kSrt);
  Source source("prompt=never max-chunks-ahead=3");
  g_object_set(source.element(), "script-location", file.path(), nullptr);
  source.play();
  EXPECT_EQ(hashes(source, 48), expected({{16, "fire"}, {20, "snow & ice"}, {12, "stars"}}));
  const MessagePtr replaced(source.element_message("flowcache-prompt", "replaced"));
  ASSERT_TRUE(replaced);
  EXPECT_STREQ(gst_structure_get_string(gst_message_get_structure(replaced.get()), "prompt"), "never");
}

TEST(Script, EachCueIsAcknowledged) {
  const ScriptFile file(kSrt);
  Source source("prompt=never");
  g_object_set(source.element(), "script-location", file.path(), nullptr);
  source.play();
  hashes(source, 48);
  const struct {
    const char* prompt;
    guint64 chunk;
  } wanted[] = {{"fire", 0}, {"snow & ice", 4}, {"stars", 9}};
  for (const auto& cue : wanted) {
    const MessagePtr message(source.element_message("flowcache-prompt", "applied"));
    ASSERT_TRUE(message);
    const GstStructure* s = gst_message_get_structure(message.get());
    guint64 chunk = 99, pts = 99;
    gst_structure_get_uint64(s, "chunk", &chunk);
    gst_structure_get_uint64(s, "pts", &pts);
    EXPECT_STREQ(gst_structure_get_string(s, "prompt"), cue.prompt);
    EXPECT_EQ(chunk, cue.chunk);
    EXPECT_EQ(pts, cue.chunk * 4 * kFrame);
  }
}

// A prompt that a user sets holds until the next cue. It does not remove that cue.
TEST(Script, APromptInBetweenHoldsUntilTheNextCue) {
  const ScriptFile file(kSrt);
  Hold hold(6);
  Source source("max-chunks-ahead=1");
  g_object_set(source.element(), "script-location", file.path(), nullptr);
  source.play();
  EXPECT_EQ(hashes(source, 20), expected({{16, "fire"}, {4, "snow & ice"}}));
  g_object_set(source.element(), "prompt", "rain", nullptr);
  hold.release();
  const std::vector<uint32_t> rest = hashes(source, 28);
  EXPECT_NE(std::find(rest.begin(), rest.end(), hash_of("rain")), rest.end());
  EXPECT_EQ(rest.back(), hash_of("stars"));
}

// The last cue ends at 3 s, after 48 frames, at the end of a chunk; or at 2.99 s, inside one.
TEST(Script, EndsTheStreamIfAskedTo) {
  for (const char* end : {"00:00:03,000", "00:00:02,990"}) {
    const ScriptFile file("1\n00:00:00,000 --> 00:00:01,000\nfire\n\n2\n00:00:01,000 --> " +
                          std::string(end) + "\nsnow\n\n");
    const std::string line =
        "flowcachesrc name=s is-live=false end-with-script=true script-location=" + std::string(file.path()) +
        " ! fakesink name=k sync=false";
    GstElement* pipeline = gst_parse_launch(line.c_str(), nullptr);
    GstElement* source = gst_bin_get_by_name(GST_BIN(pipeline), "s");
    gst_element_set_state(pipeline, GST_STATE_PAUSED);
    gst_element_get_state(pipeline, nullptr, nullptr, kPatience);
    gint64 duration = 0;
    EXPECT_TRUE(gst_element_query_duration(source, GST_FORMAT_DEFAULT, &duration));
    EXPECT_EQ(duration, 48);
    EXPECT_EQ(run_to_end(pipeline), "");
    EXPECT_EQ(stat(source, "frames"), 48u);
    EXPECT_EQ(stat(source, "chunks"), 12u);  // no further chunk is computed
    gst_element_set_state(pipeline, GST_STATE_NULL);
    gst_object_unref(source);
    gst_object_unref(pipeline);
  }
}

TEST(Script, EndOfALiveScriptIsNoUnderrun) {
  const ScriptFile file("1\n00:00:00,000 --> 00:00:00,500\nfire\n\n");
  Source source("end-with-script=true");
  g_object_set(source.element(), "script-location", file.path(), nullptr);
  source.play();
  EXPECT_EQ(source.pull_times(8).size(), 8u);
  ASSERT_TRUE(eventually([&] {
    source.tick();
    return gst_harness_events_received(source.harness()) > 0 && GST_PAD_IS_EOS(source.harness()->sinkpad);
  }));
  EXPECT_EQ(stat(source.element(), "underruns"), 0u);
}

// After the end of a script a flush starts the stream over; then it ends again.
TEST(Script, PlaysAgainAfterItsEnd) {
  const ScriptFile file("1\n00:00:00,000 --> 00:00:00,400\nfire\n\n");
  Source source("end-with-script=true");
  g_object_set(source.element(), "script-location", file.path(), nullptr);
  source.play();
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(hashes(source, 7), expected({{7, "fire"}})) << round;
    ASSERT_TRUE(eventually([&] { return GST_PAD_IS_EOS(source.harness()->sinkpad); }));
    if (round == 1) g_signal_emit_by_name(source.element(), "reset", guint64{5});
    gst_element_send_event(source.element(), gst_event_new_flush_start());
    gst_element_send_event(source.element(), gst_event_new_flush_stop(TRUE));
  }
}

TEST(Script, StartsOverWithTheStream) {
  const ScriptFile file(kSrt);
  Source source("max-chunks-ahead=1");
  g_object_set(source.element(), "script-location", file.path(), nullptr);
  source.play();
  EXPECT_EQ(hashes(source, 20).back(), hash_of("snow & ice"));
  g_signal_emit_by_name(source.element(), "reset", guint64{1});
  bool again = false;
  for (int i = 0; i < 40 && !again; ++i) {
    const BufferPtr buffer(source.pull());
    ASSERT_TRUE(buffer);
    const Seen seen = look_at(buffer.get(), source.info());
    again = seen.number == 0 && seen.hash == hash_of("fire");
  }
  EXPECT_TRUE(again);
}

}  // namespace
