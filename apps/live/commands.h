// SPDX-License-Identifier: LGPL-2.1-or-later
// The commands of viewers, which are checked here. REST and the WebSocket use the same. Main loop only.
#pragma once

#include <string>

#include "feed.h"
#include "generator.h"

namespace flowcache::live {

// An HTTP status and a JSON object. If the status is above 399, the object has `error`, a sentence.
struct Reply {
  unsigned status = 200;
  Json body = Json::object();
};
Reply refusal(unsigned status, const std::string& sentence);

// Returns none, with a sentence in *problem, if the text is no JSON object or is nested too deep.
std::optional<Json> parse_object(const std::string& text, std::string* problem);

class Commands {
 public:
  static constexpr size_t most_prompt = 2000, most_policy = 200;

  Commands(Generator& generator, Feed& feed) : generator_(generator), feed_(feed) {}

  // prompt, [blend_chunks | transition: recache], [in: seconds from now | at: running time in seconds]
  Reply prompt(const Json& request);
  // [cache_threshold], [guidance_scale], [cache], [strength]
  Reply settings(const Json& request);
  // [seed]
  Reply reset(const Json& request);

 private:
  Generator& generator_;
  Feed& feed_;
};

}  // namespace flowcache::live
