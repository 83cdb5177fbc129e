// SPDX-License-Identifier: LGPL-2.1-or-later
// Brings a caption into the form that MAGI-1's text encoder was trained on.
#pragma once

#include <string>
#include <string_view>

namespace flowcache {

// The DeepFloyd caption cleaner of MAGI-1's reference (T5 v1.1); it runs twice, as there. It converts to
// lower case and removes addresses, tags, @names, CJK ideographs, file names, words that look like
// identifiers, and decorative punctuation. A prompt of more than 4096 bytes is cut there, between two
// characters.
std::string clean_magi_prompt(std::string_view utf8);

}  // namespace flowcache
