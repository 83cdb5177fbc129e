// SPDX-License-Identifier: LGPL-2.1-or-later
// One request to an HTTP server and its whole answer. Redirections are followed, as RFC 9725 (4.5) demands of
// WHIP clients. Main loop only.
#pragma once

#include <libsoup/soup.h>

#include <functional>
#include <string>
#include <vector>

#include "handles.h"

namespace flowcache::live {

struct Question {
  const char* method;
  std::string url;
  std::string token;       // bearer token for the origin of `url`; not sent to other origins; may be empty
  std::string type, body;  // empty: no body
};

struct Answer {
  std::string error;  // why there is no answer; if empty, the other fields are valid
  unsigned status = 0;
  std::string url;           // the server that answered, after redirections
  bool knows_token = false;  // the token was sent to that server
  std::string location;      // absolute; empty: none
  std::string type;          // media type without parameters, in small letters
  std::vector<std::string> links;
  unsigned retry_after = 0;  // seconds; 0: not said
  std::string body;
};

constexpr gsize most_answer = 64 * 1024;  // bytes of body; a longer one is an error
constexpr unsigned most_redirections = 5;

// Calls `done` once, in the main loop, even if the request is cancelled. `cancellable` may be null.
void ask(SoupSession* session, Question question, GCancellable* cancellable,
         std::function<void(const Answer&)> done);

}  // namespace flowcache::live
