// SPDX-License-Identifier: LGPL-2.1-or-later
// What people may ask of the stream, checked: the same over REST and over the WebSocket. Main loop only.
#pragma once

#include <string>

#include "feed.h"
#include "generator.h"

namespace flowcache::live {

/// An HTTP status and a JSON object; above 399 it has `error`, a sentence.
struct Reply {
  unsigned status = 200;
  Json body = Json::object();
};
Reply refusal(unsigned status, const std::string& sentence);

/// Empty if the text is no JSON object of moderate depth; the sentence is in *problem.
std::optional<Json> parse_object(const std::string& text, std::string* problem);

class Commands {
 public:
  static constexpr size_t most_prompt = 2000, most_policy = 200;

  Commands(Generator& generator, Feed& feed) : generator_(generator), feed_(feed) {}

  /// prompt, [blend_chunks], [in: seconds from now | at: running time in seconds]
  Reply prompt(const Json& request);
  /// [cache_threshold], [guidance_scale], [cache]
  Reply settings(const Json& request);
  /// [seed]
  Reply reset(const Json& request);

 private:
  Generator& generator_;
  Feed& feed_;
};

}  // namespace flowcache::live
