// SPDX-License-Identifier: LGPL-2.1-or-later
#include "script.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "file_reader.h"
#include "settings.h"

namespace flowcache::gst {
namespace {

constexpr GstClockTime kScriptPatience = 5 * GST_SECOND;
constexpr const char* kRemedy = "Give a subtitle file with a prompt as the text of each cue.";

std::string decode_entities(const std::string& text) {
  static constexpr std::pair<const char*, const char*> kEntities[] = {
      {"&lt;", "<"},   {"&gt;", ">"}, {"&quot;", "\""}, {"&apos;", "'"}, {"&#39;", "'"},
      {"&nbsp;", " "}, {"&lrm;", ""}, {"&rlm;", ""},    {"&amp;", "&"}};
  std::string plain;
  for (size_t at = 0; at < text.size();) {
    const auto* found = std::find_if(std::begin(kEntities), std::end(kEntities), [&](const auto& entity) {
      return text.compare(at, std::strlen(entity.first), entity.first) == 0;
    });
    if (found == std::end(kEntities)) {
      plain += text[at++];
      continue;
    }
    plain += found->second;
    at += std::strlen(found->first);
  }
  return plain;
}

std::string without_tags(const std::string& text) {
  std::string plain;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text[at] == '<' ? text.find('>', at) : std::string::npos;
    if (end == std::string::npos) {
      plain += text[at++];
    } else {
      at = end + 1;
    }
  }
  return plain;
}

/// GstFakeSink's signal "handoff".
void take(GstElement*, GstBuffer* buffer, GstPad*, std::vector<Cue>* cues) {
  GstMapInfo map;
  if (!GST_BUFFER_PTS_IS_VALID(buffer) || !gst_buffer_map(buffer, &map, GST_MAP_READ)) return;
  const std::string text(reinterpret_cast<const char*>(map.data), map.size);
  gst_buffer_unmap(buffer, &map);
  const GstClockTime start = GST_BUFFER_PTS(buffer);
  const GstClockTime length = GST_BUFFER_DURATION_IS_VALID(buffer) ? GST_BUFFER_DURATION(buffer) : 0;
  cues->push_back({start, plain_text(text), start + length});
}

std::string read_cues(const std::string& path, std::vector<Cue>* cues) {
  FileReader reader;
  std::string problem = file_problem(path, kMaxScriptBytes);
  if (problem.empty()) {
    problem = reader.open("filesrc name=file ! subparse ! fakesink name=sink", path, G_CALLBACK(take), cues);
  }
  if (problem.empty())
    problem = reader.run("is neither SRT nor WebVTT.", kScriptPatience, [] { return true; });
  return problem;
}

/// The first cue that cannot be a prompt.
std::string cue_problem(const std::vector<Cue>& cues) {
  for (const Cue& cue : cues) {
    if (const auto problem = prompt_problem(cue.text)) {
      return "has a cue at " + std::to_string(cue.start / GST_MSECOND) + " ms that is no prompt: " + *problem;
    }
  }
  return {};
}

}  // namespace

GstClockTime end_of(const std::vector<Cue>& script) {
  GstClockTime end = 0;
  for (const Cue& cue : script) end = std::max(end, cue.end);
  return end;
}

std::string plain_text(const std::string& markup) {
  std::string plain;
  bool gap = false;
  // Twice: `subparse` escapes what it passes on, and the file may have had entities already.
  for (const char c : without_tags(decode_entities(decode_entities(markup)))) {
    if (g_ascii_isspace(c) || c == '\0') {
      gap = !plain.empty();
      continue;
    }
    if (gap) plain += ' ';
    gap = false;
    plain += c;
  }
  return plain;
}

std::vector<Cue> load_script(const std::string& path, std::string* error) {
  std::vector<Cue> cues;
  std::string problem = read_cues(path, &cues);
  std::erase_if(cues, [](const Cue& cue) { return cue.text.empty(); });
  if (problem.empty() && cues.empty()) problem = "has no cues with text.";
  if (problem.empty()) problem = cue_problem(cues);
  if (!problem.empty()) {
    g_autofree char* name = g_utf8_make_valid(path.c_str(), -1);
    *error = "The script \"" + std::string(name) + "\" " + problem + " " + kRemedy;
    return {};
  }
  std::stable_sort(cues.begin(), cues.end(), [](const Cue& a, const Cue& b) { return a.start < b.start; });
  return cues;
}

}  // namespace flowcache::gst
