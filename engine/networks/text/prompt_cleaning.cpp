// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/text/prompt_cleaning.h"

#include <glib.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>

#include "base/unicode.h"
#include "networks/text/html_entities.h"

namespace flowcache {
namespace {

struct Replacement {
  char32_t from;
  const char32_t* to;
};

// Ligatures and other letters that Unicode has only so that older character sets can be converted back.
constexpr Replacement ligatures[] = {
    {U'Ĳ', U"IJ"},  {U'ĳ', U"ij"},  {U'ŉ', U"ʼn"}, {U'Ǆ', U"DŽ"}, {U'ǅ', U"Dž"}, {U'ǆ', U"dž"},
    {U'Ǉ', U"LJ"},  {U'ǈ', U"Lj"},  {U'ǉ', U"lj"}, {U'Ǌ', U"NJ"}, {U'ǋ', U"Nj"}, {U'ǌ', U"nj"},
    {U'Ǳ', U"DZ"},  {U'ǲ', U"Dz"},  {U'ǳ', U"dz"}, {U'ﬀ', U"ff"}, {U'ﬁ', U"fi"}, {U'ﬂ', U"fl"},
    {U'ﬃ', U"ffi"}, {U'ﬄ', U"ffl"}, {U'ﬅ', U"ſt"}, {U'ﬆ', U"st"},
};

// U+FF61..U+FF9F in order; the last two are the combining voice marks.
constexpr std::u32string_view halfwidth_katakana =
    U"。「」、・ヲァィゥェォャュョッーアイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモ"
    U"ヤユヨラリルレロワン"
    U"\u3099\u309A";

// The Windows-1252 byte of a character, as a sloppy decoder would have produced it.
std::optional<uint8_t> windows_1252_byte(char32_t c) {
  if (c < 0x80 || (c >= 0xA0 && c <= 0xFF)) return static_cast<uint8_t>(c);
  for (size_t i = 0; i < std::size(windows_1252_high); ++i)
    if (windows_1252_high[i] == c) return static_cast<uint8_t>(0x80 + i);
  return std::nullopt;
}

// UTF-8 that was read as Windows-1252 becomes valid UTF-8 when it is written as Windows-1252 again. Ordinary
// Latin text hardly ever does, which tells the two apart.
std::u32string undo_mojibake(const std::u32string& text) {
  std::string bytes;
  bool beyond_ascii = false;
  for (const char32_t c : text) {
    const auto byte = windows_1252_byte(c);
    if (!byte) return text;
    beyond_ascii |= *byte >= 0x80;
    bytes += static_cast<char>(*byte);
  }
  if (!beyond_ascii) return text;
  return decode_utf8(bytes).value_or(text);
}

bool is_control(char32_t c) {
  return c < 9 || c == 0x0B || (c >= 0x0E && c < 0x20) || c == 0x7F || (c >= 0x206A && c <= 0x206F) ||
         c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFC);
}

// Skips a terminal's colour sequence ESC [ … letter; returns where it ends, or `at` if there is none.
size_t skip_escape(const std::u32string& text, size_t at) {
  if (text[at] != 0x1B || at + 1 >= text.size() || text[at + 1] != U'[') return at;
  size_t end = at + 2;
  while (end < text.size() && ((text[end] >= U'0' && text[end] <= U'9') || text[end] == U';')) ++end;
  return end < text.size() && ((text[end] | 32) >= U'a' && (text[end] | 32) <= U'z') ? end + 1 : at;
}

void append_plain(std::u32string& out, char32_t c) {
  if (c >= 0xFF01 && c <= 0xFF5E) return void(out += c - 0xFF01 + 0x21);
  if (c >= 0xFF61 && c <= 0xFF9F) return void(out += halfwidth_katakana[c - 0xFF61]);
  if (c == 0x3000) return void(out += U' ');
  if (c == 0x02BC || (c >= 0x2018 && c <= 0x201B)) return void(out += U'\'');
  if (c >= 0x201C && c <= 0x201F) return void(out += U'"');
  if (c == 0x2028 || c == 0x2029 || c == 0x85) return void(out += U'\n');
  const auto found =
      std::find_if(std::begin(ligatures), std::end(ligatures), [c](const auto& l) { return l.from == c; });
  if (found != std::end(ligatures)) return void(out += found->to);
  out += c;
}

// The character that a numeric reference stands for. HTML reads 0x80..0x9F as Windows-1252.
std::u32string numeric_reference(uint64_t code) {
  if (code >= 0x80 && code < 0xA0) {
    const char32_t mapped = windows_1252_high[code - 0x80];
    return {mapped};
  }
  if (code == 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return U"\uFFFD";
  if (is_control(static_cast<char32_t>(code)) && code != 0xFEFF) return {};
  return {static_cast<char32_t>(code)};
}

bool is_digit(char c, bool hex) {
  return (c >= '0' && c <= '9') || (hex && (((c | 32) >= 'a') && ((c | 32) <= 'f')));
}

struct Reference {
  size_t length;  // bytes of the reference; 0: there is none
  std::string text;
};

Reference read_numeric(std::string_view s) {  // s begins with "&#"
  const bool hex = s.size() > 2 && (s[2] | 32) == 'x';
  size_t at = hex ? 3 : 2;
  const size_t first = at;
  uint64_t code = 0;
  for (; at < s.size() && is_digit(s[at], hex); ++at)
    code = std::min<uint64_t>(code * (hex ? 16 : 10) + (s[at] <= '9' ? s[at] - '0' : (s[at] | 32) - 'a' + 10),
                              0x110000);
  if (at == first) return {0, {}};
  if (at < s.size() && s[at] == ';') ++at;
  return {at, encode_utf8(numeric_reference(code))};
}

Reference read_named(std::string_view s) {  // s begins with "&"
  const HtmlEntity* best = nullptr;
  for (const HtmlEntity& entity : html_entities) {
    if (s.substr(1, entity.name.size()) != entity.name) continue;
    const size_t end = 1 + entity.name.size();
    if (end < s.size() && s[end] == ';') return {end + 1, encode_utf8(std::u32string(1, entity.code))};
    const bool semicolon_needed = entity.code > 0xFF || entity.name == "apos";
    if (!semicolon_needed && (!best || best->name.size() < entity.name.size())) best = &entity;
  }
  if (!best) return {0, {}};
  return {1 + best->name.size(), encode_utf8(std::u32string(1, best->code))};
}

// Unicode's NFC. utf8: well-formed, without NUL.
std::string composed(const std::string& utf8) {
  const std::unique_ptr<char, decltype(&g_free)> text(
      g_utf8_normalize(utf8.data(), static_cast<gssize>(utf8.size()), G_NORMALIZE_NFC), g_free);
  return text ? text.get() : utf8;
}

}  // namespace

std::string html_unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    Reference reference{0, {}};
    if (text[i] == '&' && i + 1 < text.size())
      reference = text[i + 1] == '#' ? read_numeric(text.substr(i)) : read_named(text.substr(i));
    out += reference.length ? reference.text : std::string(1, text[i]);
    i += reference.length ? reference.length : 1;
  }
  return out;
}

std::string repair_text(std::string_view utf8) {
  // Where there is a literal "<", the text may be HTML whose entities are meant as they stand.
  const std::string unescaped =
      utf8.find('<') == std::string_view::npos ? html_unescape(utf8) : std::string(utf8);
  const std::u32string text = undo_mojibake(decode_utf8_lossy(unescaped));
  std::u32string out;
  for (size_t i = 0; i < text.size();) {
    const size_t after = skip_escape(text, i);
    if (after != i) {
      i = after;
      continue;
    }
    const char32_t c = text[i++];
    if (c == U'\r') {
      if (i >= text.size() || text[i] != U'\n') out += U'\n';
    } else if (!is_control(c)) {
      append_plain(out, c);
    }
  }
  return composed(encode_utf8(out));
}

std::string collapse_whitespace(std::string_view utf8) {
  std::u32string out;
  for (const char32_t c : decode_utf8_lossy(utf8)) {
    if (!is_space(c))
      out += c;
    else if (!out.empty() && out.back() != U' ')
      out += U' ';
  }
  if (!out.empty() && out.back() == U' ') out.pop_back();
  return encode_utf8(out);
}

std::string plain_prompt(std::string_view utf8) {
  return collapse_whitespace(html_unescape(html_unescape(repair_text(utf8))));
}

}  // namespace flowcache
