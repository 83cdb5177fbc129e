// SPDX-License-Identifier: LGPL-2.1-or-later
#include "script.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <sstream>
#include <utility>

#include "prefix.h"
#include "properties.h"

namespace flowcache::gst {

namespace {

constexpr const char* kScriptRemedy = "Give an SRT or WebVTT file with a prompt as the text of each cue.";

std::string at_line(size_t line) {
  return "line " + std::to_string(line);
}

// Byte order marks in UTF-8 are left out.
std::string without_marks(std::string_view text) {
  constexpr std::string_view kMark = "\xef\xbb\xbf";
  std::string plain;
  for (size_t at; (at = text.find(kMark)) != std::string_view::npos; text.remove_prefix(at + kMark.size()))
    plain += text.substr(0, at);
  return plain += text;
}

// A file's text as UTF-8 without byte order marks. Files that were joined have some inside, too.
std::string read_script_text(const std::string& path, std::string* text) {
  if (const std::string problem = file_problem(path, kMaxScriptBytes); !problem.empty()) return problem;
  char* data = nullptr;
  gsize size = 0;
  GError* error = nullptr;
  if (!g_file_get_contents(path.c_str(), &data, &size, &error)) {
    const std::string problem = std::string("cannot be read: ") + error->message;
    g_clear_error(&error);
    return problem;
  }
  const bool wide =
      size >= 2 && (std::memcmp(data, "\xff\xfe", 2) == 0 || std::memcmp(data, "\xfe\xff", 2) == 0);
  if (wide) {
    gsize converted = 0;
    char* utf8 = g_convert(data, static_cast<gssize>(size), "UTF-8", "UTF-16", nullptr, &converted, nullptr);
    g_free(data);
    if (utf8 == nullptr) return "is damaged UTF-16: save it as UTF-8.";
    data = utf8;
    size = converted;
  }
  *text = without_marks({data, size});
  g_free(data);
  return {};
}

// Reads the cues of a file as prompts, in the order of their starts.
std::string read_cues(const std::string& path, Script* script) {
  std::string text;
  if (std::string problem = read_script_text(path, &text); !problem.empty()) return problem;
  std::vector<SubtitleCue> found;
  if (std::string problem = parse_subtitles(text, &found); !problem.empty()) return problem;
  for (const SubtitleCue& cue : found) {
    Cue prompt{cue.start, plain_text(cue.text), cue.end, cue.line};
    if (const auto problem = prompt_problem(prompt.text)) {
      return "has a cue in " + at_line(cue.line) + " that is no prompt: " + *problem;
    }
    if (prompt.text.empty()) {
      script->remarks.push_back("The cue in " + at_line(cue.line) +
                                " has no text: the prompt before it holds on.");
    } else {
      script->cues.push_back(std::move(prompt));
    }
  }
  if (script->cues.empty()) return found.empty() ? "has no cues." : "has no cues with text.";
  std::stable_sort(script->cues.begin(), script->cues.end(),
                   [](const Cue& a, const Cue& b) { return a.start < b.start; });
  return {};
}

}  // namespace

GstClockTime end_of(const std::vector<Cue>& script) {
  GstClockTime end = 0;
  for (const Cue& cue : script) end = std::max(end, cue.end);
  return end;
}

Script load_script(const std::string& path, std::string* error) {
  Script script;
  const std::string problem = read_cues(path, &script);
  if (problem.empty()) return script;
  g_autofree char* name = g_utf8_make_valid(path.c_str(), -1);
  *error = "The script \"" + std::string(name) + "\" " + problem + " " + kScriptRemedy;
  return {};
}

namespace {

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\n");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\n") - first + 1);
}

}  // namespace

KeyPrompts parse_key_prompts(const std::string& text, std::string* problem) {
  KeyPrompts prompts;
  std::istringstream entries(text);
  for (std::string entry; std::getline(entries, entry, ';');) {
    if (trimmed(entry).empty()) continue;
    const size_t equals = entry.find('=');
    const std::string key = trimmed(entry.substr(0, equals));
    const std::string prompt = equals == std::string::npos ? "" : trimmed(entry.substr(equals + 1));
    if (key.empty() || prompt.empty())
      *problem =
          "\"" + trimmed(entry) + "\" is not KEY=PROMPT: write key-prompts=\"1=orange fire; 2=blue snow\".";
    else if (const auto bad = prompt_problem(prompt))
      *problem = "Key " + key + ": " + *bad;
    else if (!prompts.emplace(key, prompt).second)
      *problem = "The key " + key + " has two prompts: leave one of them out.";
    if (!problem->empty()) return {};
  }
  return prompts;
}

}  // namespace flowcache::gst
