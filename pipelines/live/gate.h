// SPDX-License-Identifier: LGPL-2.1-or-later
// Who may ask: pure functions on what a request's headers say.
#pragma once

#include <string>

namespace flowcache::live {

struct Gate {
  std::string bind;   ///< the address that is listened on
  std::string token;  ///< empty: none is asked for
};

/// What the headers say; empty: not there.
struct Visitor {
  std::string host, origin, authorization, query_token;
};

/// A page of another origin must not reach us, by a form, by a WebSocket or by a name that it points at us
/// (DNS rebinding): Host has to be an address of ours, and Origin, where there is one, the same. Empty, or
/// why not.
std::string refused_origin(const Gate& gate, const Visitor& visitor);

/// The token is the right one, by header or by query. Takes the same time wherever it differs.
bool has_token(const Gate& gate, const Visitor& visitor);

}  // namespace flowcache::live
