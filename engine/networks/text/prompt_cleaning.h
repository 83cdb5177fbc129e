// SPDX-License-Identifier: LGPL-2.1-or-later
// Cleans a prompt in the way in which the captions of the models' training were cleaned.
//
// The reference codes use the Python packages ftfy and BeautifulSoup; this file does a part of what they do.
// Not done, because it is rare: text in which only a part was decoded wrongly, or that was decoded wrongly twice; HTML
// entities beyond HTML 4.
#pragma once

#include <string>
#include <string_view>

namespace flowcache {

// The main parts of ftfy.fix_text. A text that is UTF-8 read as Windows-1252 is decoded again.
// Ligatures, full- and half-width forms, curly quotes and line breaks become plain. Control characters
// and terminal escapes go. Letters and their marks are composed (NFC): "e" and U+0301 become "é".
std::string repair_text(std::string_view utf8);

// As Python's html.unescape, for numeric references and the names of HTML 4.
std::string html_unescape(std::string_view utf8);

// Each run of white space (Unicode's included) becomes one space; none stays at the ends.
std::string collapse_whitespace(std::string_view utf8);

// repair_text(), html_unescape() twice, collapse_whitespace(): what Wan and SkyReels-V2 do to a prompt. Case
// and punctuation stay.
std::string plain_prompt(std::string_view utf8);

}  // namespace flowcache
