// SPDX-License-Identifier: LGPL-2.1-or-later
// UTF-8 to code points and back, and the classes of characters that the cleaning of prompts needs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace flowcache {

// Returns nullopt if `bytes` is not well-formed UTF-8 (overlong forms, surrogates, stray bytes).
std::optional<std::u32string> decode_utf8(std::string_view bytes);
// The place of the first malformed byte or NUL; nullopt if there is none.
std::optional<size_t> first_bad_byte(std::string_view bytes);
// As decode_utf8(), but with U+FFFD in place of each malformed byte.
std::u32string decode_utf8_lossy(std::string_view bytes);
std::string encode_utf8(std::u32string_view text);

// True for white space in the sense of Python's \s.
bool is_space(char32_t c);
// Lower case of Latin, Greek and Cyrillic letters, one to one; other characters are returned unchanged.
char32_t to_lower(char32_t c);

// The characters of Windows-1252 at 0x80..0x9F. Five of them are not assigned and keep their own number.
inline constexpr char32_t windows_1252_high[32] = {
    0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0x8D,   0x017D, 0x8F,   0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178};

}  // namespace flowcache
