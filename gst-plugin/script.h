// SPDX-License-Identifier: LGPL-2.1-or-later
// Prompts that are known beforehand: a script in time, which is a subtitle file, and prompts for keys.
#pragma once

#include <gst/gst.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace flowcache::gst {

struct Cue {
  GstClockTime start = 0;  // time in the video, from its first frame
  std::string text;        // a prompt: plain UTF-8 in one line, not empty
  GstClockTime end = 0;    // as `start`
  size_t line = 0;         // number of the line with the times, from 1
};

// A script of prompts in time.
struct Script {
  std::vector<Cue> cues;             // in the order of their starts
  std::vector<std::string> remarks;  // messages about cues that show nothing
};

inline constexpr goffset kMaxScriptBytes = 4 << 20;

// Reads the cues of an SRT or WebVTT file in UTF-8, or in UTF-16 with a byte order mark. Cues may overlap
// and come in any order: a prompt holds until the next one begins, whenever its own cue ends. Every cue
// becomes a prompt or is named in a remark. On failure there are no cues, and `error` names the file, what
// is wrong, the line and the remedy; without an error there is at least one cue. Any thread.
Script load_script(const std::string& path, std::string* error);

// The time at which the last cue ends.
GstClockTime end_of(const std::vector<Cue>& script);

// ---- subtitles.cpp: SubRip (SRT) and WebVTT as text. Every line is part of a cue, is known not to be, or is
// an error that names it.

struct SubtitleCue {
  GstClockTime start = 0, end = 0;
  std::string text;  // as in the file, with markup; lines end with '\n'
  size_t line = 0;   // number of the line with the times, from 1
};

// Appends the file's cues in its own order. Lines end with LF, CR LF or CR. In SRT the number before the
// times may be missing, blank lines may be missing or inside of a text, and the fraction may follow a comma
// or a dot. The text need not be valid UTF-8. Returns "", or what is wrong as the end of a message: "has no
// time in line 7: …".
std::string parse_subtitles(std::string_view text, std::vector<SubtitleCue>* cues);

// The text in one line: each sequence of white space becomes a blank; none remains at the start or the end.
std::string folded(const std::string& text);

// A cue's text without tags (<i>, <v Ann>, {\an8}, {y:i}), with entities decoded and white space folded.
std::string plain_text(const std::string& markup);

// ---- prompts for keys: `1=orange fire; 2=blue snow; space=golden ocean`

// From a key's name, as in navigation events, to its prompt.
using KeyPrompts = std::map<std::string, std::string>;

// Reads the property's text. If it does not have this form, returns nothing, and `problem` has a message
// with the remedy.
KeyPrompts parse_key_prompts(const std::string& text, std::string* problem);

}  // namespace flowcache::gst
