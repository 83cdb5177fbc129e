// SPDX-License-Identifier: LGPL-2.1-or-later
// One WebRTC connection with a browser or a WHIP server, in a pipeline of its own. We make the offer, the other
// side answers. Sender (sender.h) sends the picture, Camera (camera.h) takes one.
//
// Main loop only. Messages from the other side are checked (sdp.h) before webrtcbin sees them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "handles.h"
#include "ice.h"

namespace flowcache::live {

struct PeerConfig {
  GstClockTime base_time = 0;
  std::string address;         // the only local address that is offered; empty: all addresses of this machine
  std::vector<IceServer> ice;  // STUN and TURN servers
};

// Callbacks of a peer, called in the main loop. They may release the peer.
struct PeerEvents {
  std::function<void(const std::string& sdp)> offer;
  std::function<void(unsigned mline, const std::string& candidate)> candidate;
  std::function<void()> gathered;                         // local_sdp() has all candidates now
  std::function<void(const std::string& state)> state;    // connecting, connected, disconnected, …
  std::function<void(const std::string& reason)> failed;  // the peer cannot be used any more: release it
};

class Peer : public std::enable_shared_from_this<Peer> {
 public:
  static constexpr unsigned most_candidates = 64;

  virtual ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // Returns what is wrong, and leaves the peer as it was, or an empty string.
  std::string answer(const std::string& sdp);
  std::string add_candidate(unsigned mline, const std::string& candidate);
  // Our session description, with the candidates that have been found so far.
  std::string local_sdp() const;

 protected:
  explicit Peer(PeerEvents events) : events_(std::move(events)) {}
  // Makes the pipeline of this line, which has a webrtcbin "webrtc". Returns false and a sentence if an element
  // is missing.
  bool prepare(const std::string& line, const PeerConfig& config, std::string* error);
  // Plays the pipeline and makes the offer: events.offer follows.
  void begin();
  // The connection is up, for the first time.
  virtual void came_up() = 0;
  // Says once that the peer cannot be used any more. The listener may release it.
  void fail(const std::string& reason);
  GstElement* pipeline() const { return pipeline_.get(); }

 private:
  void set_up_ice(const PeerConfig& config);
  void connect_signals();
  void create_offer();
  void offer_created(GstPromise* promise);
  void state_changed();
  static gboolean on_bus(GstBus* bus, GstMessage* message, gpointer self);

  PeerEvents events_;
  GstPtr<GstElement> pipeline_;
  GstElement* webrtc_ = nullptr;  // the pipeline's
  bool offered_ = false, answered_ = false, up_ = false, failed_ = false;
  unsigned candidates_ = 0;
};

}  // namespace flowcache::live
