// SPDX-License-Identifier: LGPL-2.1-or-later
#include "settings.h"

namespace flowcache::gst {

double engine_threshold(double property) {
  if (property < 0) return 0;
  return property == 0 ? FC_NEVER : property;
}

double engine_guidance(double property) {
  return property < 0 ? 0 : property;
}

StreamOptions stream_options(const Settings& settings) {
  StreamOptions options;
  options.prompt = settings.prompt;
  options.negative_prompt = settings.negative_prompt;
  options.cache = settings.cache;
  options.kv_cache = settings.kv_cache;
  options.seed = settings.seed;
  options.kv_budget = settings.kv_budget;
  options.cache_threshold = engine_threshold(settings.cache_threshold);
  options.guidance_scale = engine_guidance(settings.guidance_scale);
  options.steps = settings.steps;
  options.lag = settings.lag;
  options.clean_context = static_cast<uint32_t>(settings.clean_context);
  options.script_blend_chunks = settings.blend_chunks;
  return options;
}

EngineKey engine_key(const Settings& settings, const EngineLibrary* library) {
  return {library, settings.model, settings.device, settings.threads};
}

std::optional<std::string> prompt_problem(const std::string& prompt) {
  if (prompt.size() > kMaxPromptBytes) {
    return "The prompt has " + std::to_string(prompt.size()) + " bytes, the limit is " +
           std::to_string(kMaxPromptBytes) + ": shorten it.";
  }
  const char* bad = nullptr;
  if (!g_utf8_validate(prompt.c_str(), -1, &bad)) {
    return "The prompt is not UTF-8: byte " + std::to_string(bad - prompt.c_str()) +
           " does not belong to a character. Convert it to UTF-8.";
  }
  return std::nullopt;
}

}  // namespace flowcache::gst
