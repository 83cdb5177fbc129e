// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fake_options.h"

#include <cstdlib>
#include <functional>
#include <map>
#include <sstream>

namespace fake {

bool parse(const std::string& text, Options* o, std::string* error) {
  const std::map<std::string, std::function<void(uint64_t)>> names = {
      {"width", [&](uint64_t v) { o->width = v; }},
      {"height", [&](uint64_t v) { o->height = v; }},
      {"fps_n", [&](uint64_t v) { o->fps_n = v; }},
      {"fps_d", [&](uint64_t v) { o->fps_d = v; }},
      {"frames", [&](uint64_t v) { o->frames = v; }},
      {"steps", [&](uint64_t v) { o->steps = v; }},
      {"size_step", [&](uint64_t v) { o->size_step = v; }},
      {"load_ms", [&](uint64_t v) { o->load_ms = v; }},
      {"chunk_ms", [&](uint64_t v) { o->chunk_ms = v; }},
      {"slow_from", [&](uint64_t v) { o->slow_from = v; }},
      {"slow_to", [&](uint64_t v) { o->slow_to = v; }},
      {"slow_ms", [&](uint64_t v) { o->slow_ms = v; }},
      {"report_ms", [&](uint64_t v) { o->report_ms = v; }},
      {"lose_at", [&](uint64_t v) { o->lose_at = v; }},
      {"expect_ms", [&](uint64_t v) { o->expect_ms = v; }},
      {"least_ms", [&](uint64_t v) { o->least_ms = v; }},
      {"fail_describe", [&](uint64_t v) { o->fail_describe = v; }},
      {"fail_open", [&](uint64_t v) { o->fail_open = v; }},
      {"fail_stream", [&](uint64_t v) { o->fail_stream = v; }},
      {"fail_write", [&](uint64_t v) { o->fail_write = v; }},
      {"fail_at", [&](uint64_t v) { o->fail_at = v; }},
      {"fail_status", [&](uint64_t v) { o->fail_status = v; }},
      {"throw_at", [&](uint64_t v) { o->throw_at = v; }},
      {"end_at", [&](uint64_t v) { o->end_at = v; }},
      {"blank", [&](uint64_t v) { o->blank = v; }},
      {"twice", [&](uint64_t v) { o->twice = v; }},
      {"cuda", [&](uint64_t v) { o->cuda = v; }},
      {"throw_open", [&](uint64_t v) { o->throw_open = v; }},
      {"needs", [&](uint64_t v) { o->needs = v; }},
      {"blind", [&](uint64_t v) { o->blind = v; }},
  };
  std::istringstream stream(text);
  std::string item;
  while (std::getline(stream, item, ',')) {
    const auto equals = item.find('=');
    const auto found = names.find(item.substr(0, equals));
    if (equals == std::string::npos || found == names.end()) {
      *error = "the fake engine knows no option \"" + item + "\"";
      return false;
    }
    found->second(std::strtoull(item.c_str() + equals + 1, nullptr, 10));
  }
  return true;
}

bool options_of(const char* model, Options* options, std::string* error) {
  *options = {};
  if (model == nullptr || std::string(model) == "fake") {
    const char* text = std::getenv("FLOWCACHE_FAKE");
    return text == nullptr || parse(text, options, error);
  }
  const std::string name = model;
  if (name.rfind("fake:", 0) == 0) return parse(name.substr(5), options, error);
  *error = "no model in folder \"" + name + "\": there is no model.json; the fake engine has \"fake:…\" only";
  return false;
}

uint32_t prompt_hash(const std::string& prompt) {
  uint32_t hash = 2166136261u;
  for (const char c : prompt) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
  return (hash ^ (hash >> 16)) & 0xffffu;
}

}  // namespace fake
