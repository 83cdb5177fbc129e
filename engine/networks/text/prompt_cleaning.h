// SPDX-License-Identifier: LGPL-2.1-or-later
// What the text encoders' training pipelines did to a caption before tokenizing it, so that a prompt looks
// like the captions that the encoder's user was trained on.
//
// The references use the Python packages ftfy and BeautifulSoup. Here: a documented subset of them. Left out,
// because both tokenizers fold it themselves (NFKC): canonical composition. Left out as rare: mojibake that
// affects only part of a prompt, or was damaged twice; HTML entities beyond HTML 4's.
#pragma once

#include <string>
#include <string_view>

namespace flowcache {

// ftfy.fix_text in outline: whole-text mojibake (UTF-8 read as Windows-1252) is undone; ligatures, full- and
// half-width forms, curly quotes and line breaks become plain; control characters and terminal escapes go.
std::string repair_text(std::string_view utf8);

// Python's html.unescape for numeric references and HTML 4 names.
std::string html_unescape(std::string_view utf8);

// Runs of white space (Unicode's too) to one space, none at the ends.
std::string collapse_whitespace(std::string_view utf8);

// Repair, unescape twice, collapse: all that Wan and SkyReels-V2 do (UMT5). Case and punctuation stay.
std::string plain_prompt(std::string_view utf8);

}  // namespace flowcache
