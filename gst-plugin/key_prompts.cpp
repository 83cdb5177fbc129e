// SPDX-License-Identifier: LGPL-2.1-or-later
#include "key_prompts.h"

#include <sstream>

#include "properties.h"

namespace flowcache::gst {
namespace {

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\n");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\n") - first + 1);
}

}  // namespace

KeyPrompts parse_key_prompts(const std::string& text, std::string* problem) {
  KeyPrompts prompts;
  std::istringstream entries(text);
  for (std::string entry; std::getline(entries, entry, ';');) {
    if (trimmed(entry).empty()) continue;
    const size_t equals = entry.find('=');
    const std::string key = trimmed(entry.substr(0, equals));
    const std::string prompt = equals == std::string::npos ? "" : trimmed(entry.substr(equals + 1));
    if (key.empty() || prompt.empty())
      *problem =
          "\"" + trimmed(entry) + "\" is not KEY=PROMPT: write key-prompts=\"1=orange fire; 2=blue snow\".";
    else if (const auto bad = prompt_problem(prompt))
      *problem = "Key " + key + ": " + *bad;
    else if (!prompts.emplace(key, prompt).second)
      *problem = "The key " + key + " has two prompts: leave one of them out.";
    if (!problem->empty()) return {};
  }
  return prompts;
}

}  // namespace flowcache::gst
