// SPDX-License-Identifier: LGPL-2.1-or-later
// One question to an HTTP server and its whole answer: redirections are followed, as RFC 9725 (4.5) wants of
// WHIP. Main loop only.
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
  std::string
      token;  ///< goes as bearer token to the origin of `url`, not to where that sends us; empty: none
  std::string type, body;  ///< empty: no body
};

struct Answer {
  std::string error;  ///< why there is none; empty: the rest is valid
  unsigned status = 0;
  std::string url;           ///< that gave the answer
  bool knows_token = false;  ///< it was told the token
  std::string location;      ///< absolute; empty: none
  std::string type;          ///< media type without parameters, in small letters
  std::vector<std::string> links;
  unsigned retry_after = 0;  ///< seconds; 0: not said
  std::string body;
};

constexpr gsize most_answer = 64 * 1024;  ///< bytes of body; a longer one is an error
constexpr unsigned most_redirections = 5;

/// `done` is called once, in the main loop, also when `cancellable`, which may be null, is cancelled.
void ask(SoupSession* session, Question question, GCancellable* cancellable,
         std::function<void(const Answer&)> done);

}  // namespace flowcache::live
