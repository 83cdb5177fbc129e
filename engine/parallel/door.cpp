// SPDX-License-Identifier: LGPL-2.1-or-later
#include "parallel/door.h"

#include <glib.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>

#include "base/error.h"
#include "base/log.h"

namespace flowcache {
namespace {

constexpr std::chrono::milliseconds handshake_patience{5000};
constexpr size_t shortest_token = 16;

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};

std::unique_ptr<addrinfo, FreeAddresses> resolve(const Address& address, bool passive) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = passive ? AI_PASSIVE : 0;
  const int failed = getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (failed)
    throw Error(FC_ERROR_ARGUMENT, "the address " + address.host + " is unknown: " + gai_strerror(failed));
  return std::unique_ptr<addrinfo, FreeAddresses>(found);
}

std::string proof(const std::string& token, const std::string& who, const std::string& door,
                  const std::string& guest) {
  const std::string said = who + "|" + door + "|" + guest;
  gchar* const hmac =
      g_compute_hmac_for_data(G_CHECKSUM_SHA256, reinterpret_cast<const guchar*>(token.data()), token.size(),
                              reinterpret_cast<const guchar*>(said.data()), said.size());
  const std::string text = hmac;
  g_free(hmac);
  return text;
}

// In a time that does not tell where they differ.
bool same(const std::string& a, const std::string& b) {
  unsigned char off = a.size() != b.size();
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) off |= a[i] ^ b[i];
  return off == 0;
}

std::string text_in(const std::optional<nlohmann::json>& message, const char* key) {
  const auto found = message ? message->find(key) : nlohmann::json::const_iterator();
  return message && found != message->end() && found->is_string() ? found->get<std::string>() : "";
}

// Orders are short and waited for. A cut cable is noticed while nothing is said, too.
void prepare(int socket) {
  const int on = 1, idle = 5, interval = 5, tries = 3, unanswered = 20000;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &tries, sizeof tries);
  setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered, sizeof unanswered);
}

bool has_token(Channel& guest, const std::string& token) {
  try {
    const std::string door = random_text();
    if (!guest.send({{"door", door}}, handshake_patience)) return false;
    const auto answer = guest.receive(handshake_patience, 1024);
    const std::string other = text_in(answer, "guest");
    if (!same(text_in(answer, "proof"), proof(token, "guest", door, other))) {
      guest.send({{"refused", "the token is another one"}}, handshake_patience);
      return false;
    }
    return guest.send({{"proof", proof(token, "door", door, other)}}, handshake_patience);
  } catch (const Error&) {
    return false;  // what came was no message
  }
}

}  // namespace

std::string random_text() {
  unsigned char bytes[16];
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
    throw Error(FC_ERROR_INTERNAL, "the kernel gives no random numbers");
  std::string text;
  for (const unsigned char byte : bytes) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", byte);
    text += two;
  }
  return text;
}

Address Address::parse(const std::string& text) {
  const auto colon = text.rfind(':');
  const std::string port = colon == std::string::npos ? "" : text.substr(colon + 1);
  std::string host = colon == std::string::npos ? "" : text.substr(0, colon);
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  char* end = nullptr;
  const unsigned long number = std::strtoul(port.c_str(), &end, 10);
  if (host.empty() || port.empty() || *end || number > 65535)
    throw Error(FC_ERROR_ARGUMENT, "\"" + text + "\" is no address such as 127.0.0.1:7000");
  return {host, static_cast<uint16_t>(number)};
}

std::string token_of_environment() {
  std::string token;
  if (const char* set = std::getenv("FLOWCACHE_TOKEN")) {
    token = set;
  } else if (const char* name = std::getenv("FLOWCACHE_TOKEN_FILE")) {
    std::ifstream file(name);
    if (!std::getline(file, token))
      throw Error(FC_ERROR_NOT_FOUND, std::string("the token's file \"") + name + "\" cannot be read");
  } else {
    return "";
  }
  if (token.size() < shortest_token)
    throw Error(FC_ERROR_ARGUMENT, "the token has " + std::to_string(token.size()) +
                                       " characters, at least " + std::to_string(shortest_token) +
                                       " are wanted: make one with openssl rand -hex 32");
  return token;
}

int listen_at(const Address& address) {
  const auto found = resolve(address, true);
  const int own = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol), on = 1;
  setsockopt(own, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (own < 0 || bind(own, found->ai_addr, found->ai_addrlen) != 0 || listen(own, 64) != 0) {
    const std::string why = std::strerror(errno);
    if (own >= 0) close(own);
    throw Error(FC_ERROR_ARGUMENT,
                "cannot listen at " + address.host + ":" + std::to_string(address.port) + ": " + why);
  }
  return own;
}

Address own_address(int socket) {
  sockaddr_storage place{};
  socklen_t length = sizeof place;
  char host[NI_MAXHOST] = "", port[NI_MAXSERV] = "0";
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&place), &length) == 0)
    getnameinfo(reinterpret_cast<sockaddr*>(&place), length, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
  return {host, static_cast<uint16_t>(std::atoi(port))};
}

Door::Door(const Address& address, std::string token)
    : socket_(listen_at(address)), token_(std::move(token)) {}

Door::~Door() {
  close(socket_);
}

Channel Door::let_in(std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    pollfd ready{socket_, POLLIN, 0};
    if (left.count() <= 0 || poll(&ready, 1, static_cast<int>(left.count())) <= 0) return Channel();
    Channel guest(accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC));
    if (!guest.open()) continue;
    prepare(guest.socket());
    if (has_token(guest, token_)) return guest;
    log(FC_LOG_WARNING, "a worker without the right token was turned away");
  }
}

Channel knock_at(const Address& address, const std::string& token) {
  const std::string where = address.host + ":" + std::to_string(address.port);
  const auto found = resolve(address, false);
  const int own = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
  Channel door(own);
  if (own < 0 || connect(own, found->ai_addr, found->ai_addrlen) != 0)
    throw Error(FC_ERROR_DEVICE, "no stream waits for workers at " + where + ": " + std::strerror(errno));
  prepare(own);
  const std::string nonce = random_text();
  const std::string theirs = text_in(door.receive(handshake_patience, 1024), "door");
  const bool sent =
      !theirs.empty() &&
      door.send({{"guest", nonce}, {"proof", proof(token, "guest", theirs, nonce)}}, handshake_patience);
  const auto answer = sent ? door.receive(handshake_patience, 1024) : std::nullopt;
  if (const std::string why = text_in(answer, "refused"); !why.empty())
    throw Error(FC_ERROR_DEVICE, "the stream at " + where + " refuses this worker: " + why);
  if (!answer || !same(text_in(answer, "proof"), proof(token, "door", theirs, nonce)))
    throw Error(FC_ERROR_DEVICE, "what listens at " + where + " is no stream with this token");
  return door;
}

}  // namespace flowcache
