// SPDX-License-Identifier: LGPL-2.1-or-later
// What a WHIP server answers, as bytes, and behind each NUL what is answered to the next request, where the first one sent us.
// A proxy of our own gets every request, so that nothing leaves this machine. The token goes to the first server only.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <mutex>
#include <thread>

#include "exchange.h"
#include "fuzz.h"
#include "ice.h"
#include "sdp.h"

namespace {

using namespace flowcache;
using namespace flowcache::live;

constexpr const char* secret = "a-secret-token";

class Proxy {
 public:
  Proxy() : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    FUZZ_REQUIRE(bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                 listen(listener_, 16) == 0);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    std::thread([this] { serve(); }).detach();
  }
  int port() const { return port_; }
  void begin(std::string_view answers) {
    const std::lock_guard lock(mutex_);
    answers_ = answers;
    requests_.clear();
  }
  std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void serve() {
    while (true) {
      const int fd = accept(listener_, nullptr, nullptr);
      if (fd < 0) continue;
      const timeval patience{2, 0};
      setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
      answer(fd);
      close(fd);
    }
  }
  void answer(int fd) {
    std::string request;
    char piece[4096];
    const auto complete = [&] {
      const size_t end = request.find("\r\n\r\n");
      const bool has_body = request.starts_with("POST");  // "hello"
      return end != std::string::npos && (!has_body || request.size() >= end + 4 + 5);
    };
    while (!complete()) {
      const ssize_t n = recv(fd, piece, sizeof piece, 0);
      if (n <= 0) return;
      request.append(piece, static_cast<size_t>(n));
    }
    std::string text;
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
      std::string_view rest = answers_;
      text = fuzz::take_until(rest, '\0');
      answers_ = std::string(rest);
    }
    send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    while (recv(fd, piece, sizeof piece, 0) > 0) {
    }
  }

  int listener_, port_ = 0;
  std::mutex mutex_;  // guards what follows
  std::string answers_;
  std::vector<std::string> requests_;
};

// As a proxy is asked: POST http://HOST[:PORT]/…
bool asks_first_server(const std::string& request) {
  const TextPtr lower(g_ascii_strdown(request.c_str(), 30));
  const std::string_view begin = lower.get();
  return begin.starts_with("post http://whip.test/") || begin.starts_with("post http://whip.test:80/");
}

void check(const Answer& answer) {
  FUZZ_REQUIRE_WITH(answer.url.starts_with("http://") || answer.url.starts_with("https://"), answer.url);
  if (!answer.error.empty()) return;
  FUZZ_REQUIRE(answer.status >= 100 && answer.status < 1000 && answer.body.size() <= most_answer);
  FUZZ_REQUIRE_WITH(
      answer.location.empty() || g_uri_is_valid(answer.location.c_str(), G_URI_FLAGS_NONE, nullptr),
      answer.location);
  FUZZ_REQUIRE(answer.retry_after <= 1000000);
  ice_servers_of_links(answer.links);
  problem_of_answer(answer.body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Proxy& proxy = *new Proxy;
  static SoupSession* session = [] {
    const std::string address = "http://127.0.0.1:" + std::to_string(proxy.port());
    GProxyResolver* resolver = g_simple_proxy_resolver_new(address.c_str(), nullptr);
    SoupSession* made =
        soup_session_new_with_options("timeout", 3u, "max-conns", 2, "proxy-resolver", resolver, nullptr);
    g_object_unref(resolver);
    return made;
  }();
  proxy.begin(fuzz::text_of(data, size));
  unsigned done = 0;
  ask(session, {"POST", "http://whip.test/room", secret, "application/sdp", "hello"}, nullptr,
      [&](const Answer& answer) {
        ++done;
        check(answer);
      });
  while (done == 0) g_main_context_iteration(nullptr, TRUE);
  soup_session_abort(session);
  while (g_main_context_iteration(nullptr, FALSE)) {
  }
  FUZZ_REQUIRE(done == 1);
  const auto requests = proxy.requests();
  FUZZ_REQUIRE(requests.size() <= 2 * (most_redirections + 1));
  for (const std::string& request : requests)
    if (request.find(secret) != std::string::npos) FUZZ_REQUIRE_WITH(asks_first_server(request), request);
  return 0;
}
