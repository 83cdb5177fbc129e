// SPDX-License-Identifier: LGPL-2.1-or-later
// Which requests are allowed, by their headers. Pure functions.
#pragma once

#include <optional>
#include <string>

namespace flowcache::live {

// The page's public address, when a proxy stands in front of it. Without a proxy all fields are empty.
struct Site {
  std::string origin;  // scheme://name[:port], in small letters, as browsers say it
  std::string name;
  std::string path;  // "" or "/one/or/more", without a slash at the end
};

// Returns none if `url` is no http or https address, or has more than a name, a port and a path.
std::optional<Site> parse_site(const std::string& url);

struct Gate {
  std::string bind;   // the address that is listened on
  std::string token;  // empty: none is asked for
  Site site;
};

// Headers of a request; empty if missing.
struct Visitor {
  std::string host, origin, authorization, query_token;
};

// Keeps pages of other origins out, whether they use a form, a WebSocket or DNS rebinding (a name of theirs
// that points at us). Host has to be one of our addresses or the public name, since a proxy may pass on
// either. Origin, if there is one, has to match Host or be the public one. Returns why the request is
// refused, or an empty string.
std::string refused_origin(const Gate& gate, const Visitor& visitor);

// True if the header or the query has the right token. The comparison takes the same time wherever they
// differ.
bool has_token(const Gate& gate, const Visitor& visitor);

}  // namespace flowcache::live
