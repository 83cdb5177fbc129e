// SPDX-License-Identifier: LGPL-2.1-or-later
// The listening socket, and how many may come through it. A connection has ten seconds for one HTTP
// request and its answer, or to become a WebSocket; who takes longer is cut off. Main loop only.
#pragma once

#include <libsoup/soup.h>

#include <map>

#include "handles.h"

namespace flowcache::live {

class Doorway {
 public:
  static constexpr guint seconds_for_a_request = 10;

  Doorway(SoupServer* server, unsigned most) : server_(server), most_(most) {}
  ~Doorway();
  Doorway(const Doorway&) = delete;
  Doorway& operator=(const Doorway&) = delete;

  /// TLS with these PEM files, before listen(); empty: plain HTTP. False and a sentence if they cannot be
  /// used.
  bool use_certificate(const std::string& certificate, const std::string& key, std::string* error);
  /// False and a sentence if the port is taken or the address is not this machine's. Port 0: a free one.
  bool listen(const std::string& address, guint16 port, std::string* error);
  guint16 port() const { return port_; }
  unsigned connections() const { return static_cast<unsigned>(open_.size()); }
  guint64 refused() const { return refused_; }

  /// The connection of this request may stay as long as it likes. Borrowed; null if it is gone.
  GSocketConnection* keep(SoupServerMessage* message);
  /// Answers this request with an error at once and cuts it off, without the rest of its body being read.
  void cut_off(SoupServerMessage* message, const char* status_line, const std::string& sentence);

 private:
  struct Open {
    Doorway* doorway;
    GSocketConnection* connection;  // not owned: it tells when it goes
    GIOStream* stream;  // what soup reads and writes: the connection, or TLS over it, which owns it
    guint deadline = 0;
  };
  struct Handshake {
    Doorway* doorway;
    ObjectPtr<GCancellable> cancelled;  // the doorway is gone then
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
