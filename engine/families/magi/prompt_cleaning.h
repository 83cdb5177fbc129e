// SPDX-License-Identifier: LGPL-2.1-or-later
// What MAGI-1's text encoder expects of a caption.
#pragma once

#include <string>
#include <string_view>

namespace flowcache {

// The DeepFloyd caption cleaner of MAGI-1's reference (T5 v1.1), run twice as there. Lower-cases; drops addresses,
// tags, @names, CJK ideographs, file names, id-like words and decorative punctuation. Prompts beyond 4096 bytes are
// cut there at a character's border.
std::string clean_magi_prompt(std::string_view utf8);

}  // namespace flowcache
