// SPDX-License-Identifier: LGPL-2.1-or-later
#include "commands.h"

#include <cmath>

namespace flowcache::live {
namespace {

constexpr int most_depth = 8;
constexpr double farthest = 24 * 3600;  // seconds ahead that a prompt may be queued

// An exception that says what is wrong with a request. It does not leave this file.
struct Wrong {
  std::string sentence;
};

void know_only(const Json& request, std::initializer_list<const char*> names) {
  for (const auto& [name, value] : request.items()) {
    bool known = name == "type";  // WebSocket messages have it
    for (const char* candidate : names) known = known || name == candidate;
    if (!known) throw Wrong{"there is no field \"" + name.substr(0, 40) + "\""};
  }
}

std::optional<double> number(const Json& request, const char* name, double low, double high) {
  const auto found = request.find(name);
  if (found == request.end()) return std::nullopt;
  const bool good = found->is_number();
  const double value = good ? found->get<double>() : NAN;
  if (good && value >= low && value <= high) return value;
  char text[160];
  g_snprintf(text, sizeof text, "%s has to be a number from %g to %g", name, low, high);
  throw Wrong{text};
}

std::optional<uint64_t> whole(const Json& request, const char* name, uint64_t high) {
  const auto found = request.find(name);
  if (found == request.end()) return std::nullopt;
  if (found->is_number_unsigned() && found->get<uint64_t>() <= high) return found->get<uint64_t>();
  throw Wrong{std::string(name) + " has to be a whole number from 0 to " + std::to_string(high)};
}

std::optional<std::string> text(const Json& request, const char* name, size_t longest) {
  const auto found = request.find(name);
  if (found == request.end()) return std::nullopt;
  if (!found->is_string()) throw Wrong{std::string(name) + " has to be a string"};
  const auto& value = found->get_ref<const std::string&>();
  if (value.size() > longest) {
    throw Wrong{std::string(name) + " of " + std::to_string(value.size()) + " bytes is longer than " +
                std::to_string(longest)};
  }
  for (const char c : value) {
    if (static_cast<unsigned char>(c) < 32 || c == 127)
      throw Wrong{std::string(name) + " has control characters"};
  }
  return value;
}

}  // namespace

Reply refusal(unsigned status, const std::string& sentence) {
  return {status, {{"error", sentence}}};
}

std::optional<Json> parse_object(const std::string& text, std::string* problem) {
  bool deep = false;
  const auto watch = [&](int depth, Json::parse_event_t, Json&) {
    deep = deep || depth > most_depth;
    return !deep;
  };
  try {
    Json parsed = Json::parse(text, watch);
    if (!deep && parsed.is_object()) return parsed;
    *problem = deep ? "the JSON is nested too deep" : "a JSON object is wanted";
  } catch (const Json::exception& error) {
    *problem = "that is no JSON";
  }
  return std::nullopt;
}

Reply Commands::prompt(const Json& request) try {
  know_only(request, {"prompt", "blend_chunks", "transition", "in", "at"});
  const auto words = text(request, "prompt", most_prompt);
  if (!words) throw Wrong{"prompt is missing"};
  if (words->find_first_not_of(' ') == std::string::npos) throw Wrong{"prompt is empty"};
  const auto chunks = whole(request, "blend_chunks", 64);
  const auto transition = text(request, "transition", 16).value_or("blend");
  const bool recache = transition == "recache";
  if (!recache && transition != "blend") throw Wrong{"transition is blend or recache"};
  if (recache && chunks) throw Wrong{"either blend_chunks or transition recache, not both"};
  const auto blend = static_cast<unsigned>(chunks.value_or(0));
  const auto in = number(request, "in", 0, farthest);
  auto at = number(request, "at", 0, 1e9);
  if (in && at) throw Wrong{"either in or at, not both"};
  if (feed_.waiting() >= Feed::most_waiting) {
    return refusal(429, std::to_string(Feed::most_waiting) + " prompts are waiting already");
  }
  const double now = seconds(generator_.running_time());
  if (at && *at > now + farthest) throw Wrong{"at is more than a day ahead"};
  if (in) at = now + *in;
  feed_.prompt_asked({.text = *words,
                      .state = "",
                      .asked = now,
                      .wanted = at.value_or(-1),
                      .blend_chunks = blend,
                      .recache = recache});
  const GstClockTime time = at ? static_cast<GstClockTime>(*at * 1e9) : GST_CLOCK_TIME_NONE;
  if (!generator_.prompt(*words, recache ? G_MAXUINT : blend, time)) {
    feed_.prompt_refused();
    return refusal(422, "the stream refused this prompt; the old one stays");
  }
  return {202,
          {{"prompt", *words},
           {"blend_chunks", blend},
           {"transition", transition},
           {"now", now},
           {"at", at ? Json(*at) : Json()}}};
} catch (const Wrong& wrong) {
  return refusal(400, wrong.sentence);
}

Reply Commands::settings(const Json& request) try {
  know_only(request, {"cache_threshold", "guidance_scale", "cache", "strength"});
  const auto threshold = number(request, "cache_threshold", -1, 10);
  const auto guidance = number(request, "guidance_scale", -1, 50);
  const auto policy = text(request, "cache", most_policy);
  const auto strength = number(request, "strength", 0, 1);
  if (!threshold && !guidance && !policy && !strength)
    throw Wrong{"cache_threshold, guidance_scale, cache or strength is missing"};
  if (strength && !generator_.takes_strength())
    return refusal(409, "there is no input to be painted over; --input of flowcache-live gives one");
  if (policy && generator_.changing_policy()) return refusal(409, "a change of policy is under way");
  if (threshold) generator_.set_cache_threshold(*threshold);
  if (strength) generator_.set_strength(*strength);
  if (guidance) generator_.set_guidance_scale(*guidance);
  if (policy && *policy != generator_.policy()) generator_.change_policy(*policy);
  return {202, {{"changing_policy", generator_.changing_policy()}}};
} catch (const Wrong& wrong) {
  return refusal(400, wrong.sentence);
}

Reply Commands::reset(const Json& request) try {
  know_only(request, {"seed"});
  const uint64_t seed = whole(request, "seed", G_MAXINT64).value_or(g_random_int());
  generator_.reset(seed);
  return {202, {{"seed", seed}}};
} catch (const Wrong& wrong) {
  return refusal(400, wrong.sentence);
}

}  // namespace flowcache::live
