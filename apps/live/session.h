// SPDX-License-Identifier: LGPL-2.1-or-later
// One browser on the WebSocket. It sends commands and gets the feed and WebRTC's signalling. A session watches at
// most one picture, and shares at most one camera. A browser that does not read loses reports and, after a while, the connection. A browser
// that sends too many messages loses the connection at once. Main loop only.
#pragma once

#include <libsoup/soup.h>

#include "commands.h"
#include "sender.h"

namespace flowcache::live {

// What a session needs of the program. Outlives all sessions.
struct SessionHost {
  virtual ~SessionHost() = default;
  virtual Commands& commands() = 0;
  virtual Feed& feed() = 0;
  // The first message to a browser: everything that the page needs to begin.
  virtual Json hello() = 0;
  // What a browser's RTCPeerConnection takes as iceServers.
  virtual Json ice_servers() = 0;
  // Returns null and a sentence if there can be no viewer, for example because too many are watching.
  // `beyond_loopback` matters for a server on 127.0.0.1 or ::1: then the machine's other addresses are
  // offered, since some browsers do not accept loopback addresses.
  virtual std::shared_ptr<Sender> make_viewer(Codec codec, bool beyond_loopback, PeerEvents events,
                                              std::string* error) = 0;
  // Returns null and a sentence if no camera is wanted, or another one is there.
  virtual std::shared_ptr<Peer> make_camera(bool beyond_loopback, PeerEvents events, std::string* error) = 0;
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  static constexpr size_t most_message = 64 * 1024;
  static constexpr double messages_per_second = 20, burst = 100;
  static constexpr gint64 patience = 10 * G_USEC_PER_SEC;  // with a browser that does not read

  // `socket` is the one under `connection`. `closed` is called once, when the connection is over.
  Session(SessionHost& host, SoupWebsocketConnection* connection, GSocketConnection* socket,
          std::function<void(Session*)> closed);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start();
  void close(unsigned short code, const char* reason);
  const Sender* viewer() const { return viewer_.get(); }

 private:
  static void on_message(SoupWebsocketConnection*, SoupWebsocketDataType type, GBytes* message,
                         gpointer self);
  static void on_closed(SoupWebsocketConnection*, gpointer self);
  bool may_speak();
  void handle(const std::string& text);
  void dispatch(const std::string& type, const Json& request);
  void watch(const Json& request);
  void share(const Json& request);
  // The signalling of the viewer or, if `camera`, of the camera. `release` lets go of it.
  PeerEvents events_of(bool camera, std::function<void()> release);
  // The one that a message is about: {"of": "camera"}, or the viewer.
  Peer* peer_of(const Json& request) const;
  void answer(const Json& request);
  void add_candidate(const Json& request);
  void reply(const std::string& to, const Reply& reply);
  // Sends a message that is left out if the other side does not read.
  void send_report(const std::string& text);
  // Sends a message that must arrive: if the other side does not read, the connection is closed.
  void send(const Json& message);
  bool can_write() const;

  SessionHost& host_;
  ObjectPtr<SoupWebsocketConnection> connection_;
  ObjectPtr<GSocketConnection> socket_;
  std::function<void(Session*)> closed_;
  unsigned subscription_ = 0;
  std::shared_ptr<Sender> viewer_;
  std::shared_ptr<Peer> camera_;
  double allowance_ = burst;
  gint64 last_message_, last_written_;
};

}  // namespace flowcache::live
