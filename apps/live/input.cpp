// SPDX-License-Identifier: LGPL-2.1-or-later
#include "input.h"

#include <utility>

#include "address.h"

namespace flowcache::live {
namespace {

constexpr guint look_ms = 250;
constexpr unsigned looks_per_picture = 4;
// Of several freezes within this time only the first is told.
constexpr gint64 quiet = gint64{60} * G_USEC_PER_SEC;

}  // namespace

Input::Input(std::string address, std::shared_ptr<FrameFeeder> feeder, Events events)
    : address_(std::move(address)), feeder_(std::move(feeder)), events_(std::move(events)) {}

Input::~Input() {
  if (timer_ != 0) g_source_remove(timer_);
}

std::string Input::start() {
  std::string error;
  thumbnail_ = Thumbnail::make(feeder_->caps(), &error);
  if (!thumbnail_) return error;
  if (!takes_camera()) {
    const auto say = [this](const std::string& why) {
      return "--input " + without_secrets(address_) + ": " + without_key(why, address_);
    };
    reader_ = std::make_unique<Reader>(
        address_, feeder_,
        Reader::Events{[this, say](const std::string& why) { events_.failed(say(why)); },
                       [this, say](const std::string& why) {
                         events_.tell("warning", say(why) + "; it is opened again until it comes");
                       }});
    if (error = reader_->start(); !error.empty()) return say(error);
  }
  timer_ = g_timeout_add(
      look_ms,
      [](gpointer self) -> gboolean {
        static_cast<Input*>(self)->look();
        return G_SOURCE_CONTINUE;
      },
      this);
  return "";
}

std::shared_ptr<Peer> Input::make_camera(const PeerConfig& config, PeerEvents events, std::string* error) {
  if (!takes_camera()) {
    *error = "this server takes no camera; --input camera would";
    return nullptr;
  }
  look();  // one that has left just now is told first
  if (!camera_.expired()) {
    *error = "another page shares its camera, and there is one at a time: try again when it has stopped";
    return nullptr;
  }
  events.failed = [this, failed = std::move(events.failed)](const std::string& reason) {
    left_because_ = reason;
    failed(reason);
  };
  auto camera = Camera::make(feeder_, config, std::move(events), error);
  camera_ = camera;
  had_camera_ = camera != nullptr;  // it may have left again before the next look
  return camera;
}

Intake::Size Input::size() const {
  if (reader_) return reader_->size();
  const auto camera = camera_.lock();
  return camera ? camera->intake().size() : Intake::Size{};
}

Input::State Input::state_of(const FrameFeeder::Figures& figures) const {
  if (figures.flowing) return State::Flowing;
  return figures.age < 0 ? State::Waiting : State::Frozen;
}

void Input::camera_left() {
  // Its first picture may have come since the last look.
  if (state_ == State::Waiting) tell_flow(state_of(feeder_->figures()));
  feeder_->forget();
  const std::string why = std::exchange(left_because_, "");
  if (std::exchange(state_, State::Waiting) != State::Waiting || !why.empty()) {
    events_.tell(why.empty() ? "info" : "warning",
                 "the camera has left" + (why.empty() ? "" : " (" + why + ")") +
                     ": the picture comes from the prompt until another is shared");
  }
  size_ = next_size_ = {};
  thaw_untold_ = false;
  freeze_told_ = 0;
}

void Input::look() {
  const bool has_camera = !camera_.expired();
  if (had_camera_ && !has_camera) camera_left();
  had_camera_ = has_camera;
  if (!takes_camera() || has_camera) {
    tell_flow(state_of(feeder_->figures()));
    if (state_ == State::Flowing) tell_size(size());
  }
  if (looks_++ % looks_per_picture == 0) thumbnail_->show(feeder_->newest());
}

void Input::tell_flow(State state) {
  const State before = std::exchange(state_, state);
  if (state == before) return;
  const gint64 now = g_get_monotonic_time();
  // It may already have stopped again since the last look.
  if (before == State::Waiting)
    events_.tell("info", takes_camera() ? "a camera is shared, and repainted" : "the input is repainted");
  if (state == State::Frozen && (freeze_told_ == 0 || now - freeze_told_ > quiet)) {
    freeze_told_ = now;
    thaw_untold_ = true;
    events_.tell("warning", name() + " has given no picture for " +
                                std::to_string(FrameFeeder::patience / G_USEC_PER_SEC) +
                                " s: the picture comes from the prompt until it goes on");
  } else if (state == State::Flowing && std::exchange(thaw_untold_, false)) {
    events_.tell("info", name() + " goes on");
  }
}

// A size is told when it has stayed until the next look.
void Input::tell_size(Intake::Size size) {
  if (std::exchange(next_size_, size) != size || size == size_ || size.width == 0) return;
  if (std::exchange(size_, size).width == 0) return;  // the first
  events_.tell("info", name() + "'s picture has " + std::to_string(size.width) + "x" +
                           std::to_string(size.height) + " pixels now");
}

Json Input::status(const Json& strength) const {
  static constexpr const char* names[] = {"waiting", "flowing", "frozen"};
  const FrameFeeder::Figures figures = feeder_->figures();
  const gint64 milliseconds = figures.age / 1000;
  const Intake::Size size = this->size();
  return {{"from", takes_camera() || address_ == "test" ? address_ : without_secrets(address_)},
          {"state", names[static_cast<int>(state_of(figures))]},
          {"flowing", figures.flowing},
          {"camera", !camera_.expired()},
          {"takes_camera", takes_camera()},
          {"width", size.width},
          {"height", size.height},
          {"frames", figures.frames},
          {"dropped", figures.dropped},
          {"repeated", figures.repeated},
          {"age", figures.age < 0 ? Json() : Json(static_cast<double>(milliseconds) / 1e3)},
          {"strength", feeder_->strength()},
          {"strength_shown", strength}};
}

}  // namespace flowcache::live
