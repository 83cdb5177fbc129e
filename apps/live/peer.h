// SPDX-License-Identifier: LGPL-2.1-or-later
// One WebRTC connection that sends the picture to a browser or to a WHIP server. It has a pipeline of its
// own, which a tap feeds when the connection is up. We make the offer, the other side answers.
//
// Main loop only. Messages from the other side are checked (sdp.h) before webrtcbin sees them.
#pragma once

#include <functional>
#include <vector>

#include "ice.h"
#include "tap.h"

namespace flowcache::live {

enum class Codec { Vp8, H264 };

struct PeerConfig {
  Codec codec = Codec::Vp8;
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

  // Returns null and a sentence if an element is missing. Otherwise events.offer follows.
  static std::shared_ptr<Peer> make(Tap& tap, const PeerConfig& config, PeerEvents events,
                                    std::string* error);
  ~Peer();

  // Returns what is wrong, and leaves the peer as it was, or an empty string.
  std::string answer(const std::string& sdp);
  std::string add_candidate(unsigned mline, const std::string& candidate);
  // Our session description, with the candidates that have been found so far.
  std::string local_sdp() const;

  bool connected() const { return consumer_ != nullptr; }
  guint64 frames() const { return consumer_ ? consumer_->sent() : 0; }
  GstClockTime waiting() const { return consumer_ ? consumer_->waiting() : 0; }
  guint64 dropped() const { return consumer_ ? consumer_->dropped() : 0; }

 private:
  Peer(Tap& tap, PeerEvents events) : tap_(tap), events_(std::move(events)) {}
  bool open(const PeerConfig& config, std::string* error);
  void set_up_ice(const PeerConfig& config);
  void offer_h264(gpointer transceiver, guint ssrc);
  void connect_signals();
  void create_offer();
  void offer_created(GstPromise* promise);
  void state_changed();
  void fail(const std::string& reason);
  static gboolean on_bus(GstBus* bus, GstMessage* message, gpointer self);

  Tap& tap_;
  PeerEvents events_;
  GstPtr<GstElement> pipeline_;
  GstElement* webrtc_ = nullptr;  // the pipeline's
  std::shared_ptr<Tap::Consumer> consumer_;
  bool offered_ = false, answered_ = false, failed_ = false;
  unsigned candidates_ = 0;
};

}  // namespace flowcache::live
