// SPDX-License-Identifier: LGPL-2.1-or-later
// HTTP: the page, the REST calls, /metrics, /healthz, and the WebSocket at /ws. Main loop only.
#pragma once

#include <list>

#include "connection_limiter.h"
#include "gate.h"
#include "options.h"
#include "session.h"

namespace flowcache::live {

// What the server needs of the program. Outlives the server.
struct ServerHost : SessionHost {
  virtual Json stats() = 0;
  virtual std::string metrics() = 0;
  // A small JPEG of the input; empty if there is none.
  virtual std::string input_picture() = 0;
  // Why the stream is not ready; empty if it is.
  virtual std::string not_ready() = 0;
};

class Server {
 public:
  static constexpr gsize most_body = 64 * 1024;

  Server(ServerHost& host, const Options& options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  bool listen(std::string* error) {
    return limiter_.use_certificate(options_.tls_cert, options_.tls_key, error) &&
           limiter_.listen(options_.bind, options_.port, error);
  }
  guint16 port() const { return limiter_.port(); }
  unsigned connections() const { return limiter_.connections(); }
  guint64 refused_connections() const { return limiter_.refused(); }
  const std::list<std::shared_ptr<Session>>& sessions() const { return sessions_; }
  // Closes all WebSockets: the stream is over.
  void close_sessions();

 private:
  static void on_started(SoupServer* server, SoupServerMessage* message, gpointer unused);
  static void on_headers(SoupServer*, SoupServerMessage*, const char* path, GHashTable* query, gpointer self);
  static void on_request(SoupServer*, SoupServerMessage*, const char* path, GHashTable* query, gpointer self);
  static void on_websocket(SoupServer*, SoupServerMessage*, const char* path, SoupWebsocketConnection*,
                           gpointer self);
  static void on_chunk(SoupServerMessage* message, GBytes* chunk, gpointer self);
  std::string own_path(const std::string& path) const;
  void refuse_body(SoupServerMessage* message);
  void check(SoupServerMessage* message, const std::string& path, GHashTable* query);
  void answer(SoupServerMessage* message, const std::string& path);
  bool answer_api(SoupServerMessage* message, const std::string& path);
  Reply post(SoupServerMessage* message, const std::string& path);
  void session_closed(Session* session);

  ServerHost& host_;
  const Options options_;
  const Gate gate_;
  ObjectPtr<SoupServer> server_;
  ConnectionLimiter limiter_;
  std::list<std::shared_ptr<Session>> sessions_;
};

}  // namespace flowcache::live
