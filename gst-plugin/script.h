// SPDX-License-Identifier: LGPL-2.1-or-later
// A script of prompts in time: the cues of a subtitle file, as GStreamer's own `subparse` reads it.
#pragma once

#include <gst/gst.h>

#include <string>
#include <vector>

namespace flowcache::gst {

struct Cue {
  GstClockTime start = 0;  ///< in the video's own time: from its first frame
  std::string text;        ///< a prompt: plain UTF-8 on one line
  GstClockTime end = 0;    ///< as `start`
};

inline constexpr goffset kMaxScriptBytes = 4 << 20;

/// The cues of a file (SRT, WebVTT, or what else `subparse` knows), by start; never empty without an error.
/// Markup is left out and line breaks become spaces. A prompt holds until the next one, whenever its own cue
/// ends. On failure no cues, and `error` names the file, what is wrong and the remedy. Blocks for as
/// long as reading takes, at most a few seconds. Any thread.
std::vector<Cue> load_script(const std::string& path, std::string* error);

/// When the last cue ends.
GstClockTime end_of(const std::vector<Cue>& script);

/// A cue's text without tags, with entities decoded and white space folded.
std::string plain_text(const std::string& markup);

}  // namespace flowcache::gst
