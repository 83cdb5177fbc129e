// SPDX-License-Identifier: LGPL-2.1-or-later
// The listening socket. It limits the number of connections, and the time of each: a connection has ten
// seconds for one HTTP request and its answer, or to become a WebSocket. Then it is cut off. Main loop only.
#pragma once

#include <libsoup/soup.h>

#include <map>

#include "handles.h"

namespace flowcache::live {

class ConnectionLimiter {
 public:
  static constexpr guint seconds_for_a_request = 10;

  // `most` connections at a time are passed on to `server`; further ones are refused.
  ConnectionLimiter(SoupServer* server, unsigned most) : server_(server), most_(most) {}
  ~ConnectionLimiter();
  ConnectionLimiter(const ConnectionLimiter&) = delete;
  ConnectionLimiter& operator=(const ConnectionLimiter&) = delete;

  // Call before listen(). TLS with these PEM files; with empty names, plain HTTP. Returns false and a
  // sentence if the files cannot be used.
  bool use_certificate(const std::string& certificate, const std::string& key, std::string* error);
  // Returns false and a sentence if the port is taken or the address is not this machine's. Port 0 takes a
  // free one.
  bool listen(const std::string& address, guint16 port, std::string* error);
  guint16 port() const { return port_; }
  unsigned connections() const { return static_cast<unsigned>(open_.size()); }
  guint64 refused() const { return refused_; }

  // Takes the time limit off the connection of this request and returns the connection, which stays the
  // limiter's. Null if it is gone.
  GSocketConnection* keep(SoupServerMessage* message);
  // Answers this request with an error at once and closes its connection. The rest of the request's body is
  // not read.
  void cut_off(SoupServerMessage* message, const char* status_line, const std::string& sentence);

 private:
  struct Open {
    ConnectionLimiter* limiter;
    GSocketConnection* connection;  // not owned: gone() is called when it is released
    GIOStream* stream;  // what soup reads and writes: the connection, or the TLS stream that owns it
    guint deadline = 0;
  };
  struct Handshake {
    ConnectionLimiter* limiter;
    ObjectPtr<GCancellable> cancelled;  // when the limiter is released
    ObjectPtr<GSocketAddress> local, remote;
  };
  static gboolean incoming(GSocketService* service, GSocketConnection* connection, GObject* origin,
                           gpointer self);
  static void on_handshake(GObject* tls, GAsyncResult* result, gpointer handshake);
  static void gone(gpointer data, GObject* connection);
  static void set_deadline(Open& open, guint milliseconds);
  void accept(GSocketConnection* connection);

  SoupServer* const server_;
  const unsigned most_;
  ObjectPtr<GSocketService> service_;
  ObjectPtr<GTlsCertificate> certificate_;
  const ObjectPtr<GCancellable> closing_{g_cancellable_new()};
  guint16 port_ = 0;
  guint64 refused_ = 0;
  std::map<std::string, Open> open_;  // by the other side's address and port
};

}  // namespace flowcache::live
