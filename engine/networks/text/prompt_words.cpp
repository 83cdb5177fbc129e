// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/text/prompt_words.h"

#include <algorithm>

#include "base/unicode.h"

namespace flowcache {
namespace {

bool ascii_digit(char32_t c) {
  return c >= U'0' && c <= U'9';
}

bool separates(char32_t c) {
  if (c < 0x80) return !ascii_digit(c) && !(c >= U'a' && c <= U'z') && !(c >= U'A' && c <= U'Z');
  // Punctuation, joiners and spaces of Latin and of all scripts; from 0x3000 on those of East Asia, marks
  // that choose a variant, and code points that are no characters.
  constexpr std::pair<char32_t, char32_t> ranges[] = {
      {0x80, 0xA9},     {0xAB, 0xB4},     {0xB6, 0xB9},     {0xBB, 0xBF},
      {0xD7, 0xD7},     {0xF7, 0xF7},     {0x2000, 0x206F}, {0x3000, 0x3004},
      {0x3008, 0x3020}, {0xFE00, 0xFE0F}, {0xFE30, 0xFE4F}, {0xFEFF, 0xFF0F},
      {0xFF1A, 0xFF20}, {0xFF3B, 0xFF40}, {0xFF5B, 0xFF65}, {0xFFF9, 0xFFFF},
  };
  return is_space(c) || std::any_of(std::begin(ranges), std::end(ranges),
                                    [c](const auto& range) { return c >= range.first && c <= range.second; });
}

}  // namespace

std::vector<std::string> prompt_words(std::string_view utf8) {
  std::vector<std::string> words;
  std::u32string word;
  const auto finish = [&] {
    if (!word.empty()) words.push_back(encode_utf8(word));
    word.clear();
  };
  for (const char32_t c : decode_utf8_lossy(utf8)) {
    const bool between = separates(c);
    if (between || (!word.empty() && ascii_digit(c) != ascii_digit(word.back()))) finish();
    if (!between) word += to_lower(c);
  }
  finish();
  return words;
}

void add_once(std::vector<std::string>& words, const std::string& word) {
  if (std::find(words.begin(), words.end(), word) == words.end()) words.push_back(word);
}

}  // namespace flowcache
