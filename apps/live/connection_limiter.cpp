// SPDX-License-Identifier: LGPL-2.1-or-later
#include "connection_limiter.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace flowcache::live {
namespace {

constexpr gint silence_ms = 15000;

std::string key_of(GSocketAddress* address) {
  if (!G_IS_INET_SOCKET_ADDRESS(address)) return "";
  auto* inet = G_INET_SOCKET_ADDRESS(address);
  const TextPtr text(g_inet_address_to_string(g_inet_socket_address_get_address(inet)));
  return std::string(text.get()) + " " + std::to_string(g_inet_socket_address_get_port(inet));
}

void cut(GSocketConnection* connection) {
  g_socket_shutdown(g_socket_connection_get_socket(connection), TRUE, TRUE, nullptr);
}

// Writes an answer without soup, which would read the whole request first. What the socket does not take at
// once is lost.
void refuse(GIOStream* stream, const char* status_line, const std::string& sentence) {
  const std::string body = "{\"error\":\"" + sentence + "\"}\n";
  const std::string answer = std::string("HTTP/1.1 ") + status_line +
                             "\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: " +
                             std::to_string(body.size()) + "\r\n\r\n" + body;
  g_pollable_output_stream_write_nonblocking(G_POLLABLE_OUTPUT_STREAM(g_io_stream_get_output_stream(stream)),
                                             answer.data(), answer.size(), nullptr, nullptr);
}

}  // namespace

ConnectionLimiter::~ConnectionLimiter() {
  g_cancellable_cancel(closing_.get());
  if (service_) {
    g_socket_service_stop(service_.get());
    g_socket_listener_close(G_SOCKET_LISTENER(service_.get()));
  }
  for (auto& [key, open] : open_) {
    if (open.deadline != 0) g_source_remove(open.deadline);
    g_object_weak_unref(G_OBJECT(open.connection), gone, &open);
  }
}

bool ConnectionLimiter::use_certificate(const std::string& certificate, const std::string& key,
                                        std::string* error) {
  if (certificate.empty()) return true;
  GError* problem = nullptr;
  certificate_.reset(g_tls_certificate_new_from_files(certificate.c_str(), key.c_str(), &problem));
  if (!certificate_)
    *error = "--tls-cert " + certificate + " with --tls-key " + key + ": " + take_message(problem);
  return certificate_ != nullptr;
}

bool ConnectionLimiter::listen(const std::string& address, guint16 port, std::string* error) {
  service_.reset(g_socket_service_new());
  g_socket_listener_set_backlog(G_SOCKET_LISTENER(service_.get()), 128);
  const ObjectPtr<GSocketAddress> wanted(g_inet_socket_address_new_from_string(address.c_str(), port));
  GSocketAddress* effective = nullptr;
  GError* problem = nullptr;
  if (!g_socket_listener_add_address(G_SOCKET_LISTENER(service_.get()), wanted.get(), G_SOCKET_TYPE_STREAM,
                                     G_SOCKET_PROTOCOL_TCP, nullptr, &effective, &problem)) {
    *error = "cannot listen on " + address + " port " + std::to_string(port) + ": " + take_message(problem) +
             "; --port 0 takes a free one";
    return false;
  }
  port_ = g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(effective));
  g_object_unref(effective);
  g_signal_connect(service_.get(), "incoming", G_CALLBACK(incoming), this);
  return true;
}

gboolean ConnectionLimiter::incoming(GSocketService*, GSocketConnection* connection, GObject*,
                                     gpointer self) {
  static_cast<ConnectionLimiter*>(self)->accept(connection);
  return TRUE;
}

void ConnectionLimiter::accept(GSocketConnection* connection) {
  ObjectPtr<GSocketAddress> remote(g_socket_connection_get_remote_address(connection, nullptr));
  ObjectPtr<GSocketAddress> local(g_socket_connection_get_local_address(connection, nullptr));
  if (!remote || !local) return;
  const std::string key = key_of(remote.get());
  if (open_.size() >= most_ || open_.contains(key)) {
    ++refused_;
    if (!certificate_) refuse(G_IO_STREAM(connection), "503 Service Unavailable", "too many connections");
    g_io_stream_close(G_IO_STREAM(connection), nullptr, nullptr);
    return;
  }
  GSocket* socket = g_socket_connection_get_socket(connection);
  g_socket_set_keepalive(socket, TRUE);
  // The kernel buffers at most this much for a client that does not read. Then we notice.
  g_socket_set_option(socket, SOL_SOCKET, SO_SNDBUF, 64 * 1024, nullptr);
  // A client that acknowledges nothing for so long has lost its network.
  g_socket_set_option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, silence_ms, nullptr);
  Open& open = open_[key];
  open.limiter = this;
  open.connection = connection;
  open.stream = G_IO_STREAM(connection);
  set_deadline(open, seconds_for_a_request * 1000);
  g_object_weak_ref(G_OBJECT(connection), gone, &open);
  if (!certificate_) {
    soup_server_accept_iostream(server_, open.stream, local.get(), remote.get(), nullptr);
    return;
  }
  const ObjectPtr<GIOStream> tls(g_tls_server_connection_new(open.stream, certificate_.get(), nullptr));
  if (!tls) return;
  open.stream = tls.get();
  // A handshake that never ends is ended by the deadline, which shuts the socket down. The handshake's task
  // holds the connection until then.
  g_tls_connection_handshake_async(
      G_TLS_CONNECTION(tls.get()), G_PRIORITY_DEFAULT, closing_.get(), on_handshake,
      new Handshake{this, ObjectPtr<GCancellable>(G_CANCELLABLE(g_object_ref(closing_.get()))),
                    std::move(local), std::move(remote)});
}

void ConnectionLimiter::on_handshake(GObject* tls, GAsyncResult* result, gpointer data) {
  const std::unique_ptr<Handshake> handshake(static_cast<Handshake*>(data));
  if (!g_tls_connection_handshake_finish(G_TLS_CONNECTION(tls), result, nullptr)) return;
  if (g_cancellable_is_cancelled(handshake->cancelled.get()) != FALSE) return;
  soup_server_accept_iostream(handshake->limiter->server_, G_IO_STREAM(tls), handshake->local.get(),
                              handshake->remote.get(), nullptr);
}

void ConnectionLimiter::gone(gpointer data, GObject*) {
  auto* open = static_cast<Open*>(data);
  if (open->deadline != 0) g_source_remove(open->deadline);
  auto& all = open->limiter->open_;
  for (auto it = all.begin(); it != all.end(); ++it) {
    if (&it->second == open) {
      all.erase(it);
      return;
    }
  }
}

void ConnectionLimiter::set_deadline(Open& open, guint milliseconds) {
  if (open.deadline != 0) g_source_remove(open.deadline);
  open.deadline = after(milliseconds, [&open] {
    open.deadline = 0;
    cut(open.connection);
  });
}

GSocketConnection* ConnectionLimiter::keep(SoupServerMessage* message) {
  GSocketAddress* remote = soup_server_message_get_remote_address(message);
  const auto found = open_.find(key_of(remote));
  if (found == open_.end()) return nullptr;
  if (found->second.deadline != 0) g_source_remove(found->second.deadline);
  found->second.deadline = 0;
  return found->second.connection;
}

void ConnectionLimiter::cut_off(SoupServerMessage* message, const char* status_line,
                                const std::string& sentence) {
  const auto found = open_.find(key_of(soup_server_message_get_remote_address(message)));
  if (found == open_.end()) return;
  refuse(found->second.stream, status_line, sentence);
  // Shutting down both directions would send a reset, which may overtake the answer. So only our direction is
  // shut down now, and the other one second later.
  set_deadline(found->second, 1000);
  g_socket_shutdown(g_socket_connection_get_socket(found->second.connection), FALSE, TRUE, nullptr);
}

}  // namespace flowcache::live
