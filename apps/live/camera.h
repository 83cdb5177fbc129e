// SPDX-License-Identifier: LGPL-2.1-or-later
// A WebRTC connection by which a browser's camera comes in, as VP8. Main loop only.
#pragma once

#include "intake.h"
#include "peer.h"

namespace flowcache::live {

class Camera : public Peer {
 public:
  // The most that a side of its picture may have, in pixels. A larger one is not decoded.
  static constexpr unsigned most_side = 1920;
  static constexpr unsigned seconds_to_begin = 20;    // until its first frame
  static constexpr unsigned seconds_of_silence = 30;  // without a frame; then its place is free for another

  // Returns null and a sentence if an element is missing. Otherwise events.offer follows.
  static std::shared_ptr<Camera> make(std::shared_ptr<FrameFeeder> feeder, const PeerConfig& config,
                                      PeerEvents events, std::string* error);
  ~Camera() override;

  const Intake& intake() const { return *intake_; }

 private:
  explicit Camera(PeerEvents events) : Peer(std::move(events)) {}
  bool open(std::shared_ptr<FrameFeeder> feeder, const PeerConfig& config, std::string* error);
  void came_up() override {}
  // Looks whether frames come.
  void look();

  std::unique_ptr<Intake> intake_;
  guint64 seen_ = 0;
  gint64 last_seen_ = 0;
  guint timer_ = 0;
};

}  // namespace flowcache::live
