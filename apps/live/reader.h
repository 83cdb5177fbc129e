// SPDX-License-Identifier: LGPL-2.1-or-later
// The input of --input test and --input URL. A file begins anew at its end. A network source that ends, breaks or
// is silent for ten seconds is opened again after 1, 2, 4 … 15 seconds. Main loop only.
#pragma once

#include <functional>
#include <string>

#include "intake.h"

namespace flowcache::live {

class Reader {
 public:
  struct Events {
    // It could not be opened, and never was: `why` says what is wrong.
    std::function<void(const std::string& why)> failed;
    // It is lost, and opened again until it comes. Called once until it gives frames again.
    std::function<void(const std::string& why)> lost;
  };

  static constexpr gint64 patience = 10 * G_USEC_PER_SEC;  // with a source that is silent
  static constexpr gint64 patience_with_file = 3 * G_USEC_PER_SEC;
  static constexpr unsigned longest_delay = 15;  // seconds between attempts

  // `address`: a URI, or "test".
  Reader(std::string address, std::shared_ptr<FrameFeeder> feeder, Events events);
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // Returns why there is no such pipeline, or an empty string.
  std::string start();
  Intake::Size size() const { return intake_ ? intake_->size() : Intake::Size{}; }

 private:
  std::string open();
  void close();
  void again(unsigned milliseconds);
  // An error, or an end without a frame: fatal if it has never given one.
  void broken(const std::string& why);
  void lose(const std::string& why);
  // Called twice a second while it is open.
  void look();
  static gboolean on_bus(GstBus* bus, GstMessage* message, gpointer self);

  const std::string address_;
  const std::shared_ptr<FrameFeeder> feeder_;
  const Events events_;
  GstPtr<GstElement> pipeline_;
  std::unique_ptr<Intake> intake_;
  bool ever_ = false, lost_ = false;  // it has given frames; lost() was called
  unsigned failures_ = 0;
  guint64 seen_ = 0;
  gint64 opened_ = 0, last_seen_ = 0;
  guint retry_ = 0, timer_ = 0;
};

}  // namespace flowcache::live
