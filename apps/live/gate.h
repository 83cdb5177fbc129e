// SPDX-License-Identifier: LGPL-2.1-or-later
// Who may ask: pure functions on what a request's headers say.
#pragma once

#include <optional>
#include <string>

namespace flowcache::live {

/// Where people find the page when a proxy stands in front of it. All empty: there is none.
struct Site {
  std::string origin;  ///< scheme://name[:port], in small letters, as browsers say it
  std::string name;
  std::string path;  ///< "" or "/one/or/more", without a slash at the end
};

/// None if it is no http or https address, or has more than a name, a port and a path.
std::optional<Site> parse_site(const std::string& url);

struct Gate {
  std::string bind;   ///< the address that is listened on
  std::string token;  ///< empty: none is asked for
  Site site;
};

/// What the headers say; empty: not there.
struct Visitor {
  std::string host, origin, authorization, query_token;
};

/// A page of another origin must not reach us, by a form, by a WebSocket or by a name that it points at us
/// (DNS rebinding): Host has to be an address of ours or the public one, which proxies may hand on or not,
/// and Origin, where there is one, the same or the public one. Empty, or why not.
std::string refused_origin(const Gate& gate, const Visitor& visitor);

/// The token is the right one, by header or by query. Takes the same time wherever it differs.
bool has_token(const Gate& gate, const Visitor& visitor);

}  // namespace flowcache::live
