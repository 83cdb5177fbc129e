// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gate.h"

#include "options.h"

namespace flowcache::live {
namespace {

/// The name of HOST[:PORT], with IPv6 out of its brackets.
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

std::string refused_origin(const Gate& gate, const Visitor& visitor) {
  const std::string name = name_of(visitor.host);
  // Whoever listens beyond this machine has a token, and may be reached by names that we cannot know.
  const bool known = name == "localhost" || name == gate.bind || is_loopback(name) || !is_loopback(gate.bind);
  if (!known) return "this server does not go by the name \"" + name.substr(0, 80) + "\"";
  if (visitor.origin.empty()) return "";
  if (visitor.origin == "http://" + visitor.host || visitor.origin == "https://" + visitor.host) return "";
  return "requests of pages from elsewhere are refused";
}

bool has_token(const Gate& gate, const Visitor& visitor) {
  if (gate.token.empty()) return true;
  return same("Bearer " + gate.token, visitor.authorization) || same(gate.token, visitor.query_token);
}

}  // namespace flowcache::live
