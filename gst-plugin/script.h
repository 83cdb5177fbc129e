// SPDX-License-Identifier: LGPL-2.1-or-later
// Prompts that are known from the beginning: a script in time, which is a subtitle file, and prompts on keys.
#pragma once

#include <gst/gst.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace flowcache::gst {

struct Cue {
  GstClockTime start = 0;  ///< in the video's own time: from its first frame
  std::string text;        ///< a prompt: plain UTF-8 on one line, not empty
  GstClockTime end = 0;    ///< as `start`
  size_t line = 0;         ///< of the file, where its times are; from 1
};

/// A script of prompts in time.
struct Script {
  std::vector<Cue> cues;             ///< by start
  std::vector<std::string> remarks;  ///< sentences about cues that show nothing
};

inline constexpr goffset kMaxScriptBytes = 4 << 20;

/// The cues of an SRT or WebVTT file in UTF-8, or UTF-16 with a byte order mark; never empty without an
/// error. Cues may overlap and come in any order: a prompt holds until the next one, whenever its own cue
/// ends. Every cue becomes a prompt or is named by its line. On failure no cues, and `error` names the file,
/// what is wrong, its line and the remedy. Any thread.
Script load_script(const std::string& path, std::string* error);

/// When the last cue ends.
GstClockTime end_of(const std::vector<Cue>& script);

// ---- subtitles.cpp: SubRip (SRT) and WebVTT as text. Every line is part of a cue, is known to be none, or is an
// error that names it.

struct SubtitleCue {
  GstClockTime start = 0, end = 0;
  std::string text;  ///< as it is in the file, with markup; lines end with '\n'
  size_t line = 0;   ///< with the times, from 1
};

/// Appends the file's cues in its own order. Lines end with LF, CR LF or CR. Of SRT: a number before the
/// times may be missing, blank lines may be missing or inside of a text, the fraction may follow a comma or a
/// dot. The text need not be valid UTF-8. Returns "", or what is wrong as the end of a sentence: "has no time
/// in line 7: …".
std::string parse_subtitles(std::string_view text, std::vector<SubtitleCue>* cues);

/// Text on one line: white space of any kind and length becomes a blank, and there is none around it.
std::string folded(const std::string& text);

/// A cue's text without tags (<i>, <v Ann>, {\an8}, {y:i}), with entities decoded and white space folded.
std::string plain_text(const std::string& markup);

// ---- prompts on keys: `1=orange fire; 2=blue snow; space=golden ocean`

/// A key's name, as navigation events call it, to its prompt.
using KeyPrompts = std::map<std::string, std::string>;

/// Reads the property's text; empty, and a sentence with the remedy in `problem`, if it is not of this form.
KeyPrompts parse_key_prompts(const std::string& text, std::string* problem);

}  // namespace flowcache::gst
