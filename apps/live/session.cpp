// SPDX-License-Identifier: LGPL-2.1-or-later
#include "session.h"

#include <algorithm>

namespace flowcache::live {
namespace {

std::string text_of(const Json& request, const char* name) {
  const auto found = request.find(name);
  return found != request.end() && found->is_string() ? found->get<std::string>() : "";
}

// False where it is missing; none where it is neither true nor false.
std::optional<bool> flag_of(const Json& request, const char* name) {
  const auto found = request.find(name);
  if (found == request.end()) return false;
  return found->is_boolean() ? std::optional(found->get<bool>()) : std::nullopt;
}

}  // namespace

Session::Session(SessionHost& host, SoupWebsocketConnection* connection, GSocketConnection* socket,
                 std::function<void(Session*)> closed)
    : host_(host),
      connection_(SOUP_WEBSOCKET_CONNECTION(g_object_ref(connection))),
      socket_(G_SOCKET_CONNECTION(g_object_ref(socket))),
      closed_(std::move(closed)),
      last_message_(g_get_monotonic_time()),
      last_written_(last_message_) {
  soup_websocket_connection_set_max_incoming_payload_size(connection, most_message);
  soup_websocket_connection_set_keepalive_interval(connection, 20);
  g_signal_connect(connection, "message", G_CALLBACK(on_message), this);
  g_signal_connect(connection, "closed", G_CALLBACK(on_closed), this);
}

Session::~Session() {
  host_.feed().unsubscribe(subscription_);
  g_signal_handlers_disconnect_by_data(connection_.get(), this);
}

void Session::start() {
  send(host_.hello());
  subscription_ = host_.feed().subscribe([this](const std::string& message) { send_report(message); });
}

void Session::close(unsigned short code, const char* reason) {
  viewer_.reset();
  camera_.reset();
  host_.feed().unsubscribe(subscription_);
  if (soup_websocket_connection_get_state(connection_.get()) == SOUP_WEBSOCKET_STATE_OPEN) {
    soup_websocket_connection_close(connection_.get(), code, reason);
  }
  // A browser that does not read does not answer the close frame either. So the socket is shut down later.
  after(1000, [socket = std::shared_ptr<GSocketConnection>(G_SOCKET_CONNECTION(g_object_ref(socket_.get())),
                                                           g_object_unref)] {
    g_socket_shutdown(g_socket_connection_get_socket(socket.get()), TRUE, TRUE, nullptr);
  });
}

void Session::on_closed(SoupWebsocketConnection*, gpointer data) {
  auto* self = static_cast<Session*>(data);
  self->viewer_.reset();
  self->camera_.reset();
  self->closed_(self);  // may release this session
}

void Session::on_message(SoupWebsocketConnection*, SoupWebsocketDataType type, GBytes* message,
                         gpointer data) {
  const auto self = static_cast<Session*>(data)->shared_from_this();
  if (soup_websocket_connection_get_state(self->connection_.get()) != SOUP_WEBSOCKET_STATE_OPEN) return;
  if (type != SOUP_WEBSOCKET_DATA_TEXT) {
    self->close(SOUP_WEBSOCKET_CLOSE_UNSUPPORTED_DATA, "text is wanted");
    return;
  }
  if (!self->may_speak()) {
    self->close(SOUP_WEBSOCKET_CLOSE_POLICY_VIOLATION, "too many messages");
    return;
  }
  gsize size = 0;
  const auto* text = static_cast<const char*>(g_bytes_get_data(message, &size));
  self->handle(std::string(text, size));
}

// Token bucket: holds up to `burst` messages and fills by `messages_per_second`.
bool Session::may_speak() {
  const gint64 now = g_get_monotonic_time();
  allowance_ =
      std::min(burst, allowance_ + messages_per_second * static_cast<double>(now - last_message_) / 1e6);
  last_message_ = now;
  allowance_ -= 1;
  return allowance_ >= 0;
}

void Session::handle(const std::string& text) {
  std::string problem;
  const auto request = parse_object(text, &problem);
  if (!request) {
    reply("", refusal(400, problem));
    return;
  }
  dispatch(text_of(*request, "type"), *request);
}

void Session::dispatch(const std::string& type, const Json& request) {
  if (type == "prompt") {
    reply(type, host_.commands().prompt(request));
  } else if (type == "settings") {
    reply(type, host_.commands().settings(request));
  } else if (type == "reset") {
    reply(type, host_.commands().reset(request));
  } else if (type == "watch") {
    watch(request);
  } else if (type == "unwatch") {
    viewer_.reset();
  } else if (type == "share") {
    share(request);
  } else if (type == "unshare") {
    camera_.reset();
  } else if (type == "answer") {
    answer(request);
  } else if (type == "candidate") {
    add_candidate(request);
  } else {
    reply("",
          refusal(
              400,
              "type has to be prompt, settings, reset, watch, unwatch, share, unshare, answer or candidate"));
  }
}

PeerEvents Session::events_of(bool camera, std::function<void()> release) {
  const auto say = [this, camera](Json message) {
    if (camera) message["of"] = "camera";
    send(message);
  };
  const char* type = camera ? "camera" : "viewer";
  PeerEvents events;
  events.offer = [this, say](const std::string& sdp) {
    say({{"type", "offer"}, {"sdp", sdp}, {"ice_servers", host_.ice_servers()}});
  };
  events.candidate = [say](unsigned mline, const std::string& candidate) {
    say({{"type", "candidate"}, {"mline", mline}, {"candidate", candidate}});
  };
  events.state = [this, type](const std::string& state) { send({{"type", type}, {"state", state}}); };
  events.failed = [this, type, release = std::move(release)](const std::string& reason) {
    release();
    send({{"type", type}, {"state", "failed"}, {"reason", reason}});
  };
  return events;
}

void Session::watch(const Json& request) {
  const std::string codec = text_of(request, "codec");
  if (codec != "vp8" && codec != "h264") {
    reply("watch", refusal(400, "codec has to be vp8 or h264"));
    return;
  }
  const auto beyond = flag_of(request, "beyond_loopback");
  if (!beyond) {
    reply("watch", refusal(400, "beyond_loopback has to be true or false"));
    return;
  }
  viewer_.reset();
  std::string error;
  viewer_ = host_.make_viewer(codec == "h264" ? Codec::H264 : Codec::Vp8, *beyond,
                              events_of(false, [this] { viewer_.reset(); }), &error);
  if (!viewer_) reply("watch", refusal(503, error));
}

void Session::share(const Json& request) {
  const auto beyond = flag_of(request, "beyond_loopback");
  if (!beyond) {
    reply("share", refusal(400, "beyond_loopback has to be true or false"));
    return;
  }
  camera_.reset();
  std::string error;
  camera_ = host_.make_camera(*beyond, events_of(true, [this] { camera_.reset(); }), &error);
  if (!camera_) reply("share", refusal(409, error));
}

Peer* Session::peer_of(const Json& request) const {
  return text_of(request, "of") == "camera" ? camera_.get() : viewer_.get();
}

void Session::answer(const Json& request) {
  Peer* peer = peer_of(request);
  const std::string problem =
      peer != nullptr ? peer->answer(text_of(request, "sdp")) : "there is no offer to answer";
  if (!problem.empty()) reply("answer", refusal(400, problem));
}

void Session::add_candidate(const Json& request) {
  const auto mline = request.find("mline");
  if (mline != request.end() && !mline->is_number_unsigned()) {
    reply("candidate", refusal(400, "mline has to be a whole number"));
    return;
  }
  const std::string candidate = text_of(request, "candidate");
  const uint64_t line = mline == request.end() ? 0 : mline->get<uint64_t>();
  const auto capped = static_cast<unsigned>(std::min<uint64_t>(line, G_MAXUINT));  // all but 0 are refused
  Peer* peer = peer_of(request);
  const std::string problem =
      peer != nullptr ? peer->add_candidate(capped, candidate) : "there is no connection to add to";
  if (!problem.empty()) reply("candidate", refusal(400, problem));
}

void Session::reply(const std::string& to, const Reply& reply) {
  Json message = {{"type", "reply"}, {"to", to}, {"status", reply.status}};
  message.update(reply.body);
  send(message);
}

// soup's queue of unsent messages has no bound. So a message is passed to soup only if the socket can take
// it now.
bool Session::can_write() const {
  return soup_websocket_connection_get_state(connection_.get()) == SOUP_WEBSOCKET_STATE_OPEN &&
         (g_socket_condition_check(g_socket_connection_get_socket(socket_.get()), G_IO_OUT) & G_IO_OUT) != 0;
}

void Session::send_report(const std::string& text) {
  const gint64 now = g_get_monotonic_time();
  if (can_write()) {
    last_written_ = now;
    soup_websocket_connection_send_text(connection_.get(), text.c_str());
  } else if (now - last_written_ > patience) {
    close(SOUP_WEBSOCKET_CLOSE_POLICY_VIOLATION, "reports are not read");
  }
}

void Session::send(const Json& message) {
  if (can_write()) {
    last_written_ = g_get_monotonic_time();
    soup_websocket_connection_send_text(connection_.get(),
                                        message.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
  } else {
    close(SOUP_WEBSOCKET_CLOSE_POLICY_VIOLATION, "answers are not read");
  }
}

}  // namespace flowcache::live
