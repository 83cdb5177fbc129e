// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "script.h"

namespace flowcache::gst {

namespace {

constexpr std::string_view kArrow = "-->";

// Reads a line from left to right.
struct Scanner {
  std::string_view rest;

  void skip_blanks() {
    while (!rest.empty() && (rest.front() == ' ' || rest.front() == '\t')) rest.remove_prefix(1);
  }
  bool take(std::string_view wanted) {
    if (rest.substr(0, wanted.size()) != wanted) return false;
    rest.remove_prefix(wanted.size());
    return true;
  }
  // Reads a number of at most `digits` digits.
  std::optional<guint64> number(size_t digits) {
    guint64 value = 0;
    size_t taken = 0;
    for (; taken < rest.size() && g_ascii_isdigit(rest[taken]); ++taken) {
      if (taken == digits) return std::nullopt;
      value = value * 10 + static_cast<guint64>(rest[taken] - '0');
    }
    if (taken == 0) return std::nullopt;
    rest.remove_prefix(taken);
    return value;
  }
};

struct Time {
  GstClockTime at = 0;
  bool certain = false;  // has hours or a fraction, so it cannot be a text such as "12:30 at the station"
};

// Reads [hours:]minutes:seconds[,fraction].
std::optional<Time> take_time(Scanner& scan) {
  const auto first = scan.number(5);
  if (!first || !scan.take(":")) return std::nullopt;
  const auto second = scan.number(2);
  if (!second) return std::nullopt;
  guint64 hours = 0, minutes = *first, seconds = *second;
  Time time;
  if (scan.take(":")) {
    const auto third = scan.number(2);
    if (!third) return std::nullopt;
    hours = std::exchange(minutes, std::exchange(seconds, *third));
    time.certain = true;
  }
  if (minutes > 59 || seconds > 59) return std::nullopt;
  time.at = (hours * 3600 + minutes * 60 + seconds) * GST_SECOND;
  if (!scan.take(",") && !scan.take(".")) return time;
  const size_t before = scan.rest.size();
  const auto fraction = scan.number(9);
  if (!fraction) return std::nullopt;
  guint64 unit = GST_SECOND;
  for (size_t digits = before - scan.rest.size(); digits > 0; --digits) unit /= 10;
  time.at += *fraction * unit;
  time.certain = true;
  return time;
}

// True if this line can only be meant as the times of a cue.
bool speaks_of_time(std::string_view line) {
  if (line.find(kArrow) != std::string_view::npos) return true;
  Scanner scan{line};
  scan.skip_blanks();
  const auto time = take_time(scan);
  return time && time->certain;
}

// Reads start and end. Settings may follow; they are about the place on the screen.
bool parse_times(std::string_view line, SubtitleCue* cue) {
  Scanner scan{line};
  scan.skip_blanks();
  const auto start = take_time(scan);
  scan.skip_blanks();
  if (!start || !scan.take(kArrow)) return false;
  scan.skip_blanks();
  const auto end = take_time(scan);
  if (!end || (!scan.rest.empty() && scan.rest.front() != ' ' && scan.rest.front() != '\t')) return false;
  cue->start = start->at;
  cue->end = end->at;
  return true;
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t") == std::string_view::npos;
}

bool is_number(std::string_view line) {
  Scanner scan{line};
  scan.skip_blanks();
  const bool number = scan.number(18).has_value();
  return number && is_blank(scan.rest);
}

std::string named(size_t index, std::string_view line) {
  g_autofree char* valid =
      g_utf8_make_valid(line.data(), static_cast<gssize>(std::min<size_t>(line.size(), 80)));
  return "line " + std::to_string(index + 1) + ": \"" + valid + "\".";
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of("\r\n"), text.size());
    lines.push_back(text.substr(0, end));
    const bool two = text.substr(end, 2) == "\r\n";
    text.remove_prefix(std::min(end + (two ? 2 : 1), text.size()));
  }
  return lines;
}

// Reads the lines once, from the first to the last. A line with times begins a cue.
class Parser {
 public:
  Parser(std::vector<std::string_view> lines, std::vector<SubtitleCue>* cues)
      : lines_(std::move(lines)), cues_(cues) {}

  std::string run() {
    size_t at = 0;
    while (at < lines_.size() && is_blank(lines_[at])) ++at;
    if (at == lines_.size()) return {};
    Scanner head{lines_[at]};
    const bool vtt =
        head.take("WEBVTT") && (head.rest.empty() || head.rest[0] == ' ' || head.rest[0] == '\t');
    if (!vtt && std::none_of(lines_.begin(), lines_.end(), speaks_of_time))
      return "is neither SRT nor WebVTT.";
    return vtt ? web_vtt(at + 1) : sub_rip(at);
  }

 private:
  // Begins the cue whose times are in this line.
  std::string begin(size_t at) {
    SubtitleCue cue;
    cue.line = at + 1;
    if (!parse_times(lines_[at], &cue)) return "has no start and end of a cue in " + named(at, lines_[at]);
    if (cue.end < cue.start) return "has a cue that ends before it begins in " + named(at, lines_[at]);
    cues_->push_back(std::move(cue));
    return {};
  }

  void add_text(size_t at) { cues_->back().text += std::string(lines_[at]) + "\n"; }

  // SRT. A cue's text ends before the next cue's number or times. Blank lines may be in it, or missing.
  std::string sub_rip(size_t at) {
    const size_t first = at;
    while (at < lines_.size()) {
      size_t next = at;
      while (next < lines_.size() && !speaks_of_time(lines_[next])) ++next;
      const size_t end = without_number(at, next);
      for (; at < end; ++at) {
        if (is_blank(lines_[at])) continue;
        if (cues_->empty()) return "has text before the first time in " + named(at, lines_[at]);
        add_text(at);
      }
      if (next == lines_.size()) break;
      if (const std::string problem = begin(next); !problem.empty()) return problem;
      at = next + 1;
    }
    const size_t last = last_text(first, lines_.size());
    const bool cut = last > first && is_number(lines_[last]) && is_blank(lines_[last - 1]);
    return cut ? "ends with a number that has no time in " + named(last, lines_[last]) : "";
  }

  // The last line of [from, to) that is not blank; `from` if all are.
  size_t last_text(size_t from, size_t to) const {
    while (to > from && is_blank(lines_[to - 1])) --to;
    return to > from ? to - 1 : from;
  }

  // Returns where the text of [from, times) ends: before the number of the cue whose times follow. A number
  // that is alone directly after the times, with a blank line after it, is text.
  size_t without_number(size_t from, size_t times) const {
    if (times == lines_.size() || from == times) return times;
    const size_t last = last_text(from, times);
    if (!is_number(lines_[last])) return times;
    const bool behind_blank = last > from ? is_blank(lines_[last - 1]) : cues_->empty();
    return last + 1 == times || behind_blank ? last : times;
  }

  // WebVTT. Blocks between blank lines: comments, styles, and cues, with or without a name above their
  // times.
  std::string web_vtt(size_t at) {
    while (at < lines_.size() && !is_blank(lines_[at]) && !speaks_of_time(lines_[at])) ++at;  // the header
    while (at < lines_.size()) {
      if (is_blank(lines_[at])) {
        ++at;
      } else if (is_remark(lines_[at])) {
        while (at < lines_.size() && !is_blank(lines_[at])) ++at;
      } else {
        if (!speaks_of_time(lines_[at])) {
          if (at + 1 == lines_.size() || !speaks_of_time(lines_[at + 1])) {
            return "has text without a time in " + named(at, lines_[at]);
          }
          ++at;
        }
        if (const std::string problem = begin(at++); !problem.empty()) return problem;
        for (; at < lines_.size() && !is_blank(lines_[at]) && !speaks_of_time(lines_[at]); ++at) add_text(at);
      }
    }
    return {};
  }

  static bool is_remark(std::string_view line) {
    for (const char* word : {"NOTE", "STYLE", "REGION"}) {
      Scanner scan{line};
      if (scan.take(word) && (scan.rest.empty() || scan.rest[0] == ' ' || scan.rest[0] == '\t')) return true;
    }
    return false;
  }

  const std::vector<std::string_view> lines_;
  std::vector<SubtitleCue>* const cues_;
};

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

// Length of the tag at the front of the text; 0 if there is none. has_end: whether the character is in the text,
// which is asked before it is looked for.
template <typename HasEnd>
size_t tag_length(std::string_view text, HasEnd has_end) {
  if (text.size() < 3) return 0;
  const char next = text[1];
  if (text[0] == '<') {
    const size_t behind_time = text.find_first_not_of("0123456789:.", 1);
    if (behind_time != std::string_view::npos && text[behind_time] == '>') return behind_time + 1;
    const bool html = g_ascii_isalpha(next) || next == '/';
    return html && has_end('>') ? text.find('>') + 1 : 0;
  }
  const bool ass = text[0] == '{' && (next == '\\' || (g_ascii_isalpha(next) && text[2] == ':'));
  return ass && has_end('}') ? text.find('}') + 1 : 0;
}

// Goes through the text once, however many tags begin and do not end.
std::string without_tags(std::string_view text) {
  const size_t size = text.size(), last_angle = text.rfind('>'), last_brace = text.rfind('}');
  const auto has_end = [&](char end) {
    const size_t last = end == '>' ? last_angle : last_brace;
    return last != std::string_view::npos && size - text.size() < last;
  };
  std::string plain;
  while (!text.empty()) {
    const size_t tag = tag_length(text, has_end);
    if (tag == 0) plain += text.front();
    text.remove_prefix(std::max<size_t>(tag, 1));
  }
  return plain;
}

}  // namespace

std::string parse_subtitles(std::string_view text, std::vector<SubtitleCue>* cues) {
  return Parser(lines_of(text), cues).run();
}

std::string folded(const std::string& text) {
  std::string line;
  bool gap = false;
  for (const char c : text) {
    if (g_ascii_isspace(c) || c == '\0') {
      gap = !line.empty();
      continue;
    }
    if (gap) line += ' ';
    gap = false;
    line += c;
  }
  return line;
}

std::string plain_text(const std::string& markup) {
  return folded(decode_entities(without_tags(markup)));
}

}  // namespace flowcache::gst
