// SPDX-License-Identifier: LGPL-2.1-or-later
// A WebRTC connection that sends the picture to a browser or to a WHIP server. A tap feeds it when it is up.
// Main loop only.
#pragma once

#include "peer.h"
#include "tap.h"

namespace flowcache::live {

enum class Codec { Vp8, H264 };

class Sender : public Peer {
 public:
  // Returns null and a sentence if an element is missing. Otherwise events.offer follows.
  static std::shared_ptr<Sender> make(Tap& tap, Codec codec, const PeerConfig& config, PeerEvents events,
                                      std::string* error);
  ~Sender() override;

  bool connected() const { return consumer_ != nullptr; }
  guint64 frames() const { return consumer_ ? consumer_->sent() : 0; }
  GstClockTime waiting() const { return consumer_ ? consumer_->waiting() : 0; }
  guint64 dropped() const { return consumer_ ? consumer_->dropped() : 0; }

 private:
  Sender(Tap& tap, PeerEvents events) : Peer(std::move(events)), tap_(tap) {}
  bool open(Codec codec, const PeerConfig& config, std::string* error);
  void came_up() override;

  Tap& tap_;
  std::shared_ptr<Tap::Consumer> consumer_;
};

}  // namespace flowcache::live
