// SPDX-License-Identifier: LGPL-2.1-or-later
// The bytes that come in on the port of flowcache-live: whatever they are, nothing reaches the generator without the token.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "fuzz.h"
#include "live_stubs.h"

namespace {

using namespace flowcache;
using namespace flowcache::live;

constexpr const char* secret = "12345678";

Options options() {
  Options options;
  options.port = 0;
  options.token = secret;
  options.public_site = *parse_site("https://public.example/live/");
  return options;
}

// A connection from one of the machine's many own addresses, as ports are few. -1 if there is none at the moment.
int try_connect(guint16 port) {
  static uint32_t number = 0;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  sockaddr_in from{}, to{};
  from.sin_family = to.sin_family = AF_INET;
  from.sin_addr.s_addr = htonl(0x7F000001 + (++number & 0xFFFF));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(port);
  const linger at_once{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  if (bind(fd, reinterpret_cast<sockaddr*>(&from), sizeof from) == 0 &&
      connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0)
    return fd;
  close(fd);
  return -1;
}

int connect_to(guint16 port) {
  for (int tries = 0; tries < 80; ++tries) {
    if (const int fd = try_connect(port); fd >= 0) return fd;
    fuzz::run_main_loop();
    g_usleep(100000);
  }
  fuzz::broken("the server takes connections", __FILE__, __LINE__, g_strerror(errno));
}

std::string talk(guint16 port, std::string_view request) {
  const int fd = connect_to(port);
  std::string answer;
  char piece[8192];
  const auto listen = [&] {
    fuzz::run_main_loop();
    for (ssize_t n; (n = recv(fd, piece, sizeof piece, MSG_DONTWAIT)) > 0;)
      answer.append(piece, static_cast<size_t>(n));
  };
  listen();
  for (size_t sent = 0; sent < request.size();) {
    const ssize_t n = send(fd, request.data() + sent, request.size() - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n <= 0) break;
    sent += static_cast<size_t>(n);
    listen();
  }
  shutdown(fd, SHUT_WR);
  listen();
  close(fd);
  fuzz::run_main_loop();
  return answer;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static fuzz::Host host;
  static Server* server = [] {
    auto* made = new Server(host, options());
    std::string error;
    FUZZ_REQUIRE_WITH(made->listen(&error), error);
    return made;
  }();
  host.begin();
  const std::string_view request = fuzz::text_of(data, size);
  const std::string answer = talk(server->port(), request);
  FUZZ_REQUIRE_WITH(answer.empty() || answer.starts_with("HTTP/1."), answer.substr(0, 200));
  // The query may have it percent-encoded.
  const bool knows =
      request.find(secret) != std::string_view::npos || request.find('%') != std::string_view::npos;
  FUZZ_REQUIRE(knows || fuzz::reached().commands == 0);
  FUZZ_REQUIRE(knows || answer.find("{\"type\":\"hello\"}") == std::string::npos);
  return 0;
}
