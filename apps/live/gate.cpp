// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gate.h"

#include <gio/gio.h>

#include "handles.h"
#include "ice.h"
#include "options.h"

namespace flowcache::live {
namespace {

// Names of hosts and schemes have no case (RFC 9110, 4.2.3).
std::string small(const std::string& text) {
  return TextPtr(g_ascii_strdown(text.c_str(), -1)).get();
}

// The name of HOST[:PORT], with IPv6 out of its brackets.
std::string name_of(const std::string& host) {
  if (!host.empty() && host[0] == '[') return host.substr(1, host.find(']') - 1);
  return host.substr(0, host.find(':'));
}

bool same(const std::string& a, const std::string& b) {
  unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < b.size(); ++i) {
    difference |= static_cast<unsigned char>(b[i] ^ (i < a.size() ? a[i] : 0));
  }
  return difference == 0;
}

}  // namespace

std::optional<Site> parse_site(const std::string& url) {
  char *scheme = nullptr, *user = nullptr, *host = nullptr, *path = nullptr, *query = nullptr,
       *fragment = nullptr;
  int port = -1;
  const bool good = g_uri_split(url.c_str(), G_URI_FLAGS_NONE, &scheme, &user, &host, &port, &path, &query,
                                &fragment, nullptr);
  const TextPtr owners[] = {TextPtr(scheme), TextPtr(user),  TextPtr(host),
                            TextPtr(path),   TextPtr(query), TextPtr(fragment)};
  if (!good || scheme == nullptr || host == nullptr || !is_host(host) || user != nullptr ||
      query != nullptr || fragment != nullptr)
    return std::nullopt;
  Site site;
  const std::string kind = small(scheme);
  if (kind != "http" && kind != "https") return std::nullopt;
  site.name = small(host);
  site.origin = kind + "://" + (site.name.find(':') == std::string::npos ? site.name : "[" + site.name + "]");
  if (port > 0 && port != (kind == "https" ? 443 : 80)) site.origin += ":" + std::to_string(port);
  site.path = path;
  while (!site.path.empty() && site.path.back() == '/') site.path.pop_back();
  return site;
}

std::string refused_origin(const Gate& gate, const Visitor& visitor) {
  const std::string host = small(visitor.host), origin = small(visitor.origin), name = name_of(host);
  // A server that listens beyond this machine has a token, and may have names that we cannot know.
  const bool known = name == "localhost" || name == gate.bind || is_loopback(name) ||
                     !is_loopback(gate.bind) || (!gate.site.name.empty() && name == gate.site.name);
  if (!known) {
    return "this server does not go by the name \"" + name.substr(0, 80) +
           "\"; --public-url gives it the one of a proxy";
  }
  if (origin.empty() || origin == "http://" + host || origin == "https://" + host) return "";
  if (!gate.site.origin.empty() && origin == gate.site.origin) return "";
  return "requests of pages from elsewhere are refused";
}

bool has_token(const Gate& gate, const Visitor& visitor) {
  if (gate.token.empty()) return true;
  const std::string scheme = small(visitor.authorization.substr(0, 7));
  return (scheme == "bearer " && same(gate.token, visitor.authorization.substr(7))) ||
         same(gate.token, visitor.query_token);
}

}  // namespace flowcache::live
