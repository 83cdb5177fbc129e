// SPDX-License-Identifier: LGPL-2.1-or-later
// A script of prompts: an SRT or WebVTT file, and the text of key-prompts. What is read comes back the same when it is
// written as SRT.
#include <algorithm>
#include <cinttypes>

#include "fuzz.h"
#include "gst-plugin/properties.h"
#include "gst-plugin/script.h"

namespace {

using namespace flowcache::gst;
namespace fuzz = flowcache::fuzz;

std::string time_text(GstClockTime time) {
  char text[64];
  const guint64 seconds = time / GST_SECOND;
  std::snprintf(text, sizeof text, "%02" PRIu64 ":%02" PRIu64 ":%02" PRIu64 ",%09" PRIu64, seconds / 3600,
                seconds / 60 % 60, seconds % 60, time % GST_SECOND);
  return text;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text)
    out += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : std::string(1, c);
  return out;
}

bool same(const Cue& a, const Cue& b) {
  return a.start == b.start && a.end == b.end && a.text == b.text;
}

void check_cues(const Script& script) {
  GstClockTime before = 0;
  std::string srt;
  bool writable = true;
  for (const Cue& cue : script.cues) {
    FUZZ_REQUIRE(cue.start <= cue.end && cue.start >= before && cue.line >= 1);
    FUZZ_REQUIRE(!cue.text.empty() && cue.text.size() <= kMaxPromptBytes);
    FUZZ_REQUIRE(g_utf8_validate(cue.text.data(), static_cast<gssize>(cue.text.size()), nullptr));
    FUZZ_REQUIRE(cue.text.find_first_of("\r\n") == std::string::npos && folded(cue.text) == cue.text);
    before = cue.start;
    // ASS markup has no escape for braces, and a byte order mark is taken out wherever it stands.
    writable = writable && cue.text.find('{') == std::string::npos &&
               cue.text.find("\xef\xbb\xbf") == std::string::npos;
    srt += std::to_string(cue.line) + "\n" + time_text(cue.start) + " --> " + time_text(cue.end) + "\n<i>" +
           escaped(cue.text) + "\n\n";
  }
  FUZZ_REQUIRE(end_of(script.cues) >= before);
  if (script.cues.empty() || !writable || srt.size() > kMaxScriptBytes) return;
  static const fuzz::MemoryFile file;
  file.write(srt);
  std::string error;
  const Script again = load_script(file.path(), &error);
  FUZZ_REQUIRE_WITH(error.empty(), error);
  FUZZ_REQUIRE(
      std::equal(script.cues.begin(), script.cues.end(), again.cues.begin(), again.cues.end(), same));
}

void check_keys(const std::string& text) {
  std::string problem;
  const KeyPrompts prompts = parse_key_prompts(text, &problem);
  FUZZ_REQUIRE(problem.empty() || prompts.empty());
  std::string printed;
  for (const auto& [key, prompt] : prompts) printed += key + "=" + prompt + ";";
  FUZZ_REQUIRE_WITH(parse_key_prompts(printed, &problem) == prompts, printed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(fuzz::text_of(data, size));
  std::vector<SubtitleCue> cues;
  const auto lines = static_cast<size_t>(
      1 + std::count_if(text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }));
  parse_subtitles(text, &cues);
  for (const SubtitleCue& cue : cues)
    FUZZ_REQUIRE(cue.start <= cue.end && cue.line >= 1 && cue.line <= lines);

  static const fuzz::MemoryFile file;
  file.write(text);
  std::string error;
  const Script script = load_script(file.path(), &error);
  FUZZ_REQUIRE(error.empty() != script.cues.empty());
  FUZZ_REQUIRE(g_utf8_validate(error.c_str(), -1, nullptr) && error.size() < 2000);
  check_cues(script);
  check_keys(text);
  return 0;
}
