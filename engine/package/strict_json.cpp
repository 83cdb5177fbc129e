// SPDX-License-Identifier: LGPL-2.1-or-later
#include "package/strict_json.h"

#include <set>
#include <stdexcept>
#include <vector>

namespace flowcache {

using nlohmann::json;

json parse_strict_json(std::string_view text) {
  constexpr int max_depth = 64;
  std::vector<std::set<std::string, std::less<>>> open_objects;
  const json::parser_callback_t watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > max_depth) throw std::runtime_error("nested deeper than " + std::to_string(max_depth));
    if (event == json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == json::parse_event_t::object_end) open_objects.pop_back();
    if (event == json::parse_event_t::key && !open_objects.back().insert(parsed.get<std::string>()).second)
      throw std::runtime_error("the key " + shorten(parsed) + " occurs twice");
    return true;
  };
  try {
    return json::parse(text, watch);
  } catch (const json::parse_error& error) {
    throw std::runtime_error("syntax error or bad UTF-8 at byte " + std::to_string(error.byte));
  }
}

std::string shorten(const json& value) {
  constexpr size_t most = 80;
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
  if (text.size() > most) text = text.substr(0, most) + "…";
  return text;
}

}  // namespace flowcache
