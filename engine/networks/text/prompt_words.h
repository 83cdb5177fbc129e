// SPDX-License-Identifier: LGPL-2.1-or-later
// The words of a prompt, in any script.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace flowcache {

// A word is a run of letters (with their accents) and of other signs with a meaning, such as emoji. Runs of
// digits are words of their own. White space, punctuation and invisible characters separate words. Words are
// lower-cased by to_lower().
std::vector<std::string> prompt_words(std::string_view utf8);

// Appends `word` if it is not there yet.
void add_once(std::vector<std::string>& words, const std::string& word);

}  // namespace flowcache
