// SPDX-License-Identifier: LGPL-2.1-or-later
// Subtitles as text: SubRip (SRT) and WebVTT. Every line is part of a cue, is known to be none, or is an
// error that names it.
#pragma once

#include <gst/gst.h>

#include <string>
#include <string_view>
#include <vector>

namespace flowcache::gst {

struct SubtitleCue {
  GstClockTime start = 0, end = 0;
  std::string text;  ///< as it is in the file, with markup; lines end with '\n'
  size_t line = 0;   ///< with the times, from 1
};

/// Appends the file's cues in its own order. Lines end with LF, CR LF or CR. Of SRT: a number before the
/// times may be missing, blank lines may be missing or inside of a text, the fraction may follow a comma or a
/// dot. Empty, or what is wrong as the end of a sentence: "has no time in line 7: …". No valid UTF-8 is asked
/// for.
std::string parse_subtitles(std::string_view text, std::vector<SubtitleCue>* cues);

/// Text on one line: white space of any kind and length becomes a blank, and there is none around it.
std::string folded(const std::string& text);

/// A cue's text without tags (<i>, <v Ann>, {\an8}, {y:i}), with entities decoded and white space folded.
std::string plain_text(const std::string& markup);

}  // namespace flowcache::gst
