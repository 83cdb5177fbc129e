// SPDX-License-Identifier: LGPL-2.1-or-later
// The live picture that is repainted: a test picture or a stream (reader.h), or the camera of one browser at a time
// (camera.h). It only says what happens to it; the feeder keeps the stream going. Main loop only.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "camera.h"
#include "feed.h"
#include "reader.h"
#include "thumbnail.h"

namespace flowcache::live {

class Input {
 public:
  struct Events {
    std::function<void(const std::string& level, const std::string& text)> tell;
    std::function<void(const std::string& why)> failed;  // it could not be opened
  };

  // `address`: camera, test or a URI.
  Input(std::string address, std::shared_ptr<FrameFeeder> feeder, Events events);
  ~Input();
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  // Returns why it cannot begin, or an empty string.
  std::string start();
  bool takes_camera() const { return address_ == "camera"; }
  // What /api/stats says of it; `strength` is the newest receipt.
  Json status(const Json& strength) const;
  // A small picture of it, as JPEG; empty if there is none.
  std::string picture() const { return thumbnail_ ? thumbnail_->jpeg() : ""; }
  // Returns null and a sentence if there is a camera already, or none is wanted. It is the input until it is
  // released.
  std::shared_ptr<Peer> make_camera(const PeerConfig& config, PeerEvents events, std::string* error);

 private:
  enum class State { Waiting, Flowing, Frozen };

  // Called four times a second.
  void look();
  void camera_left();
  void tell_flow(State state);
  void tell_size(Intake::Size size);
  State state_of(const FrameFeeder::Figures& figures) const;
  Intake::Size size() const;
  // What people call it.
  std::string name() const { return takes_camera() ? "the camera" : "the input"; }

  const std::string address_;
  const std::shared_ptr<FrameFeeder> feeder_;
  const Events events_;
  std::unique_ptr<Reader> reader_;
  std::unique_ptr<Thumbnail> thumbnail_;
  std::weak_ptr<Camera> camera_;
  bool had_camera_ = false;
  std::string left_because_;  // why the last camera failed, until that is told
  State state_ = State::Waiting;
  Intake::Size size_;         // that was told
  Intake::Size next_size_;    // that is told if it stays
  gint64 freeze_told_ = 0;    // when
  bool thaw_untold_ = false;  // that a freeze which was told is over
  unsigned looks_ = 0;
  guint timer_ = 0;
};

}  // namespace flowcache::live
