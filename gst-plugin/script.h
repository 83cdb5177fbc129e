// SPDX-License-Identifier: LGPL-2.1-or-later
// A script of prompts in time: the cues of a subtitle file.
#pragma once

#include <gst/gst.h>

#include <string>
#include <vector>

namespace flowcache::gst {

struct Cue {
  GstClockTime start = 0;  ///< in the video's own time: from its first frame
  std::string text;        ///< a prompt: plain UTF-8 on one line, not empty
  GstClockTime end = 0;    ///< as `start`
  size_t line = 0;         ///< of the file, where its times are; from 1
};

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

}  // namespace flowcache::gst
