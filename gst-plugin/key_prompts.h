// SPDX-License-Identifier: LGPL-2.1-or-later
// Prompts on keys: `1=orange fire; 2=blue snow; space=golden ocean`.
#pragma once

#include <map>
#include <string>

namespace flowcache::gst {

/// A key's name, as navigation events call it, to its prompt.
using KeyPrompts = std::map<std::string, std::string>;

/// Reads the property's text; empty, and a sentence with the remedy in `problem`, if it is not of this form.
KeyPrompts parse_key_prompts(const std::string& text, std::string* problem);

}  // namespace flowcache::gst
