// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ice.h"

#include <libsoup/soup.h>

#include <algorithm>

#include "handles.h"

namespace flowcache::live {
namespace {

constexpr unsigned stun_port = 3478, tls_port = 5349;

std::string in_brackets(const std::string& host) {
  return host.find(':') == std::string::npos ? host : "[" + host + "]";
}

std::string escaped(const std::string& text) {
  const TextPtr escaped(g_uri_escape_string(text.c_str(), nullptr, FALSE));
  return escaped.get();
}

// HOST:PORT?transport=…
std::string place_of(const IceServer& server) {
  return in_brackets(server.host) + ":" + std::to_string(server.port) +
         (server.transport.empty() ? "" : "?transport=" + server.transport);
}

bool is_utf8(const std::string& text) {
  return g_utf8_validate(text.data(), static_cast<gssize>(text.size()), nullptr) != FALSE;
}

std::string text_or_empty(const TextPtr& text) {
  return text ? text.get() : "";
}

}  // namespace

bool is_host(const std::string& text) {
  if (text.find(':') != std::string::npos) return g_hostname_is_ip_address(text.c_str()) != FALSE;
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return g_ascii_isalnum(c) || c == '-' || c == '.' || c == '_' || static_cast<unsigned char>(c) > 127;
  });
}

std::optional<IceServer> parse_ice_server(const std::string& text, std::string* problem) {
  *problem =
      text +
      " is no STUN or TURN server, such as stun:HOST:PORT or turn:USER:PASSWORD@HOST:PORT?transport=tcp";
  const size_t colon = text.find(':');
  if (colon == std::string::npos) return std::nullopt;
  std::string rest = text.substr(colon + 1);
  if (rest.rfind("//", 0) == 0) rest.erase(0, 2);
  IceServer server;
  const TextPtr lower(g_ascii_strdown(text.substr(0, colon).c_str(), -1));
  server.scheme = lower.get();
  if (server.scheme != "stun" && server.scheme != "turn" && server.scheme != "turns") return std::nullopt;
  char *user = nullptr, *password = nullptr, *host = nullptr, *path = nullptr, *query = nullptr;
  int port = -1;
  const bool good =
      g_uri_split_with_user((server.scheme + "://" + rest).c_str(), G_URI_FLAGS_HAS_PASSWORD, nullptr, &user,
                            &password, nullptr, &host, &port, &path, &query, nullptr, nullptr);
  const TextPtr owners[] = {TextPtr(user), TextPtr(password), TextPtr(host), TextPtr(path), TextPtr(query)};
  // A host that is percent-encoded may be anything once it is decoded.
  if (!good || !is_host(text_or_empty(owners[2])) || !text_or_empty(owners[3]).empty() || port == 0)
    return std::nullopt;
  server.user = text_or_empty(owners[0]);
  server.password = text_or_empty(owners[1]);
  server.host = host;
  server.port = port > 0 ? static_cast<unsigned>(port) : (server.scheme == "turns" ? tls_port : stun_port);
  const std::string asked = text_or_empty(owners[4]);
  if (asked == "transport=udp" || asked == "transport=tcp") {
    server.transport = asked.substr(asked.size() - 3);
  } else if (!asked.empty()) {
    return std::nullopt;
  }
  if (server.scheme == "stun" && (user != nullptr || !server.transport.empty())) return std::nullopt;
  problem->clear();
  return server;
}

std::vector<IceServer> ice_servers_of_links(const std::vector<std::string>& links) {
  std::vector<IceServer> servers;
  for (const std::string& link : links) {
    const size_t end = link.find('>');
    if (link.empty() || link[0] != '<' || end == std::string::npos) continue;
    const size_t semicolon = link.find(';', end);
    if (semicolon == std::string::npos) continue;
    GHashTable* fields = soup_header_parse_semi_param_list(link.c_str() + semicolon + 1);
    const auto field = [fields](const char* name) {
      const auto* value = static_cast<const char*>(g_hash_table_lookup(fields, name));
      return std::string(value == nullptr ? "" : value);
    };
    std::string problem;
    auto server = parse_ice_server(link.substr(1, end - 1), &problem);
    const std::string user = field("username"), password = field("credential");
    // What is no text cannot be written into webrtcbin's address.
    if (server && field("rel") == "ice-server" && is_utf8(user) && is_utf8(password)) {
      server->user = user;
      server->password = password;
      servers.push_back(*server);
    }
    soup_header_free_param_list(fields);
  }
  return servers;
}

void set_passing_credentials(IceServer& server, const std::string& secret, gint64 until) {
  server.user = std::to_string(until) + ":flowcache";
  GHmac* hmac = g_hmac_new(G_CHECKSUM_SHA1, reinterpret_cast<const guchar*>(secret.data()), secret.size());
  g_hmac_update(hmac, reinterpret_cast<const guchar*>(server.user.data()),
                static_cast<gssize>(server.user.size()));
  guint8 digest[20];
  gsize size = sizeof digest;
  g_hmac_get_digest(hmac, digest, &size);
  g_hmac_unref(hmac);
  server.password = TextPtr(g_base64_encode(digest, size)).get();
}

std::string address_for_webrtcbin(const IceServer& server) {
  if (server.scheme == "stun") return "stun://" + place_of(server);
  return server.scheme + "://" + escaped(server.user) + ":" + escaped(server.password) + "@" +
         place_of(server);
}

Json json_for_browser(const IceServer& server) {
  Json json = {{"urls", server.scheme + ":" + place_of(server)}};
  if (server.scheme != "stun") {
    json["username"] = server.user;
    json["credential"] = server.password;
  }
  return json;
}

}  // namespace flowcache::live
