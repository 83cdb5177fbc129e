// SPDX-License-Identifier: LGPL-2.1-or-later
#include "networks/lora_list.h"

#include <charconv>
#include <optional>

#include "base/error.h"

namespace flowcache {
namespace {

constexpr double most = 10;

std::optional<double> number_in(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || end != text.data() + text.size() || error == std::errc::invalid_argument) return {};
  return value;
}

[[noreturn]] void refuse(std::string_view entry, const std::string& why) {
  throw Error(FC_ERROR_ARGUMENT, "the LoRA \"" + std::string(entry) + "\" " + why);
}

LoraFile entry_of(std::string_view entry) {
  LoraFile one;
  size_t colon = std::string_view::npos;  // the last one without a backslash
  for (size_t i = 0; i < entry.size(); ++i) {
    if (entry[i] == ':') colon = i;
    if (entry[i] == '\\') ++i;
  }
  std::string_view file = entry;
  if (colon != std::string_view::npos) {
    const std::string scale(entry.substr(colon + 1));
    if (const auto value = number_in(scale)) {
      if (!(*value >= -most && *value <= most))
        refuse(entry, "has the scale " + scale + ", which is outside -10..10; 1 is the whole of it");
      one.scale = *value;
      file = entry.substr(0, colon);
    }
  }
  for (size_t i = 0; i < file.size(); ++i) {
    if (file[i] == '\\' && i + 1 < file.size()) ++i;
    one.file += file[i];
  }
  if (one.file.empty()) refuse(entry, "names no file; write FILE or FILE:SCALE, with commas between several");
  return one;
}

}  // namespace

std::vector<LoraFile> parse_loras(std::string_view text) {
  std::vector<LoraFile> all;
  if (text.empty()) return all;
  size_t begin = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] == '\\') {
      ++i;
    } else if (i == text.size() || text[i] == ',') {
      all.push_back(entry_of(text.substr(begin, i - begin)));
      begin = i + 1;
    }
  }
  return all;
}

}  // namespace flowcache
