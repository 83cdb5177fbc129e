// SPDX-License-Identifier: LGPL-2.1-or-later
// What a browser says on the WebSocket of flowcache-live, a message a line: every answer is JSON and says how it went.
#include <sys/socket.h>

#include "fuzz.h"
#include "live_stubs.h"

namespace {

using namespace flowcache;
using namespace flowcache::live;

constexpr size_t most_messages = 50;  // a session closes when many more come at once

// A session on one end of a pair of sockets; the other end is ours.
class Browser {
 public:
  explicit Browser(fuzz::Host& host) {
    int ends[2];
    FUZZ_REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    ours_ = ends[0];
    const ObjectPtr<GSocket> socket(g_socket_new_from_fd(ends[1], nullptr));
    stream_.reset(g_socket_connection_factory_create_connection(socket.get()));
    GUri* uri = g_uri_parse("ws://localhost/ws", G_URI_FLAGS_NONE, nullptr);
    connection_.reset(soup_websocket_connection_new(
        G_IO_STREAM(stream_.get()), uri, SOUP_WEBSOCKET_CONNECTION_SERVER, nullptr, nullptr, nullptr));
    g_uri_unref(uri);
    session_ = std::make_shared<Session>(host, connection_.get(), stream_.get(), [](Session*) {});
    session_->start();
  }
  ~Browser() { close(ours_); }

  void say(std::string_view text) {
    GBytes* bytes = g_bytes_new(text.data(), text.size());
    g_signal_emit_by_name(connection_.get(), "message", SOUP_WEBSOCKET_DATA_TEXT, bytes);
    g_bytes_unref(bytes);
    hear();
  }
  void hear() {
    fuzz::run_main_loop();
    char piece[4096];
    for (ssize_t n; (n = recv(ours_, piece, sizeof piece, 0)) > 0;)
      heard_.append(piece, static_cast<size_t>(n));
    while (const auto message = next()) check(*message);
  }
  unsigned replies() const { return replies_; }

 private:
  // A text frame of the server (RFC 6455, 5.2): whole, not masked.
  std::optional<std::string> next() {
    const auto byte = [&](size_t at) { return static_cast<uint8_t>(heard_[at]); };
    if (heard_.size() < 2) return std::nullopt;
    FUZZ_REQUIRE(byte(0) == 0x81 && byte(1) < 128);
    const size_t extra = byte(1) == 126 ? 2 : byte(1) == 127 ? 8 : 0;
    size_t length = extra == 0 ? byte(1) : 0;
    if (heard_.size() < 2 + extra) return std::nullopt;
    for (size_t i = 0; i < extra; ++i) length = length << 8 | byte(2 + i);
    if (heard_.size() - 2 - extra < length) return std::nullopt;
    std::string text = heard_.substr(2 + extra, length);
    heard_.erase(0, 2 + extra + length);
    return text;
  }
  void check(const std::string& text) {
    const Json message = Json::parse(text, nullptr, false);
    FUZZ_REQUIRE_WITH(message.is_object() && message.contains("type"), text);
    if (message["type"] != "reply") return;
    ++replies_;
    const unsigned status = message.at("status").get<unsigned>();
    FUZZ_REQUIRE_WITH((status > 399) == message.contains("error"), text);
    FUZZ_REQUIRE_WITH(status == 202 || (status >= 400 && !message["error"].get<std::string>().empty()), text);
    FUZZ_REQUIRE(text.size() < Session::most_message);
  }

  int ours_ = -1;
  ObjectPtr<GSocketConnection> stream_;
  ObjectPtr<SoupWebsocketConnection> connection_;
  std::shared_ptr<Session> session_;
  std::string heard_;
  unsigned replies_ = 0;
};

// The line that a candidate is about, if the message names one.
std::optional<double> line_of(std::string_view text) {
  const Json message = Json::parse(text, nullptr, false);
  if (!message.is_object() || message.value("type", Json()) != "candidate") return std::nullopt;
  const Json line = message.value("mline", Json());
  return line.is_number() ? std::optional(line.get<double>()) : std::nullopt;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static fuzz::Host host;
  host.begin();
  {
    Browser browser(host);
    browser.hear();
    std::string_view rest = fuzz::text_of(data, size);
    for (size_t i = 0; i < most_messages && !rest.empty(); ++i) {
      const std::string_view message = fuzz::take_until(rest, '\n');
      fuzz::reached().highest_line = 0;
      const unsigned before = browser.replies();
      browser.say(message);
      if (const auto line = line_of(message); line && *line > 0)
        FUZZ_REQUIRE_WITH(fuzz::reached().highest_line > 0 || browser.replies() == before + 1,
                          "another line than it names");
      FUZZ_REQUIRE(browser.replies() <= before + 1);
    }
  }
  fuzz::run_main_loop();
  return 0;
}
