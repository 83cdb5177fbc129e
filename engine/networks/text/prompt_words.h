// SPDX-License-Identifier: LGPL-2.1-or-later
// The words of a prompt, of any script.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace flowcache {

// Runs of letters (with their accents) and other signs that mean something, such as emoji; digits are words
// of their own. White space, punctuation and what is invisible separate. Lower-cased as to_lower() can.
std::vector<std::string> prompt_words(std::string_view utf8);

// Appends `word` if it is not there yet.
void add_once(std::vector<std::string>& words, const std::string& word);

}  // namespace flowcache
