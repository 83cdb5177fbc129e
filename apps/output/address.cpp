// SPDX-License-Identifier: LGPL-2.1-or-later
#include "address.h"

#include <glib.h>

namespace flowcache {
namespace {

void hide(std::string& text, const std::string& secret) {
  if (secret.size() < 4) return;
  for (size_t at = 0; (at = text.find(secret, at)) != std::string::npos;)
    text.replace(at, secret.size(), "…");
}

}  // namespace

std::string without_secrets(const std::string& address) {
  if (address.rfind("file:", 0) == 0) return address;
  GUri* uri = g_uri_parse(address.c_str(), G_URI_FLAGS_NONE, nullptr);
  if (uri == nullptr) return address.find(':') == std::string::npos ? address : "";
  std::string host = g_uri_get_host(uri) == nullptr ? "" : g_uri_get_host(uri);
  if (host.find(':') != std::string::npos) host = "[" + host + "]";
  std::string shown = std::string(g_uri_get_scheme(uri)) + "://" + host;
  if (g_uri_get_port(uri) > 0) shown.append(":").append(std::to_string(g_uri_get_port(uri)));
  g_uri_unref(uri);
  return shown;
}

std::string without_key(std::string text, const std::string& address) {
  const size_t scheme = address.find("://"), host = scheme == std::string::npos ? 0 : scheme + 3;
  const size_t query = address.find('?', host), slash = address.substr(0, query).rfind('/');
  const size_t begin = slash != std::string::npos && slash >= host ? slash : query;
  const size_t user = address.substr(0, address.find('/', host)).rfind('@');
  if (user != std::string::npos && user > host) hide(text, address.substr(host, user - host));
  if (begin == std::string::npos || address.rfind("file:", 0) == 0) return text;
  hide(text, address.substr(begin + 1));
  return text;
}

}  // namespace flowcache
