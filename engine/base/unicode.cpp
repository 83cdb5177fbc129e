// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/unicode.h"

namespace flowcache {
namespace {

// Reads one character at `at` and moves `at` past it. If it is malformed, moves `at` by one byte and returns
// nullopt.
std::optional<char32_t> next(std::string_view bytes, size_t& at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const uint8_t first = byte(at);
  const int length = first < 0x80   ? 1
                     : first < 0xC2 ? 0
                     : first < 0xE0 ? 2
                     : first < 0xF0 ? 3
                     : first < 0xF5 ? 4
                                    : 0;
  const size_t start = at++;
  if (length == 0 || start + length > bytes.size()) return std::nullopt;
  if (length == 1) return first;
  char32_t code = first & (0x7F >> length);
  for (int i = 1; i < length; ++i) {
    if ((byte(start + i) & 0xC0) != 0x80) return std::nullopt;
    code = code << 6 | (byte(start + i) & 0x3F);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  if (overlong || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return std::nullopt;
  at = start + length;
  return code;
}

}  // namespace

std::optional<std::u32string> decode_utf8(std::string_view bytes) {
  std::u32string text;
  for (size_t at = 0; at < bytes.size();) {
    const auto c = next(bytes, at);
    if (!c) return std::nullopt;
    text += *c;
  }
  return text;
}

std::optional<size_t> first_bad_byte(std::string_view bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const size_t begin = at;
    if (next(bytes, at).value_or(0) == 0) return begin;
  }
  return std::nullopt;
}

std::u32string decode_utf8_lossy(std::string_view bytes) {
  std::u32string text;
  for (size_t at = 0; at < bytes.size();) text += next(bytes, at).value_or(0xFFFD);
  return text;
}

std::string encode_utf8(std::u32string_view text) {
  std::string bytes;
  for (const char32_t c : text) {
    if (c < 0x80) {
      bytes += static_cast<char>(c);
      continue;
    }
    const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    constexpr uint8_t lead[] = {0xC0, 0xE0, 0xF0};
    bytes += static_cast<char>(lead[more - 1] | c >> (6 * more));
    for (int i = more - 1; i >= 0; --i) bytes += static_cast<char>(0x80 | (c >> (6 * i) & 0x3F));
  }
  return bytes;
}

bool is_space(char32_t c) {
  return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

char32_t to_lower(char32_t c) {
  if (c >= U'A' && c <= U'Z') return c + 32;
  if (c < 0x80) return c;
  if (c >= 0xC0 && c <= 0xDE && c != 0xD7) return c + 32;
  if (c == 0x178) return 0xFF;
  // Pairs of a capital and a small letter. The capital is even in these ranges and odd in the next ones.
  if ((c >= 0x100 && c <= 0x137 && c != 0x130) || (c >= 0x14A && c <= 0x177) || (c >= 0x460 && c <= 0x481) ||
      (c >= 0x48A && c <= 0x4BF) || (c >= 0x4D0 && c <= 0x52F) || (c >= 0x1E00 && c <= 0x1E95) ||
      (c >= 0x1EA0 && c <= 0x1EFF))
    return c | 1;
  if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17E) || (c >= 0x4C1 && c <= 0x4CE))
    return c + (c & 1);
  if (c >= 0x391 && c <= 0x3A9 && c != 0x3A2) return c + 32;
  if (c >= 0x410 && c <= 0x42F) return c + 32;
  if (c >= 0x400 && c <= 0x40F) return c + 80;
  return c;
}

}  // namespace flowcache
