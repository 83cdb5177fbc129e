// SPDX-License-Identifier: LGPL-2.1-or-later
// UTF-8 to code points and back, and the few classes of characters that prompt cleaning asks for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace flowcache {

// nullopt for anything that is not well-formed UTF-8 (overlong forms, surrogates, stray bytes).
std::optional<std::u32string> decode_utf8(std::string_view bytes);
// Where such a byte or a NUL is; nullopt for well-formed text.
std::optional<size_t> first_bad_byte(std::string_view bytes);
// As decode_utf8(), with U+FFFD for each bad byte.
std::u32string decode_utf8_lossy(std::string_view bytes);
std::string encode_utf8(std::u32string_view text);

// White space as Python's \s sees it.
bool is_space(char32_t c);
// Simple lower-casing of Latin, Greek and Cyrillic; others stay.
char32_t to_lower(char32_t c);

// What Windows-1252 has at 0x80..0x9F; its five holes keep the control character's own number.
inline constexpr char32_t windows_1252_high[32] = {
    0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0x8D,   0x017D, 0x8F,   0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178};

}  // namespace flowcache
