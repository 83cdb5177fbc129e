// SPDX-License-Identifier: LGPL-2.1-or-later
// A way out of a running generation that goes away and comes back: when the other side is lost, or takes
// nothing for ten seconds, the output is torn down and tried again after 1, 2, 4 … 15 seconds, while the
// generation goes on. push.h sends to GStreamer's sinks, live/whip.cpp by WebRTC. Main loop only.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "handles.h"

namespace flowcache {

/// Video frames since the start, over all attempts.
struct OutputFrames {
  guint64 sent = 0;          ///< handed to the other side's pipeline
  guint64 dropped = 0;       ///< not, while it was there
  GstClockTime waiting = 0;  ///< how much of the picture waits there now
  gint64 stalled = 0;        ///< microseconds without any being taken; 0: they are
};

class Output {
 public:
  enum class State { Connecting, Sending, Waiting, Ended };

  struct Config {
    std::string name;     ///< for people; may be empty
    std::string address;  ///< only scheme, host and port are shown: the rest may hold a key
    std::optional<unsigned> retries = std::nullopt;  ///< in a row; none given: without end
  };
  struct Events {
    std::function<void(const std::string& level, const std::string& text)> tell;
    /// Called once when there will be no more attempts: empty, or why. It may release the output.
    std::function<void(const std::string& why)> ended;
  };

  static constexpr gint64 patience = 10 * G_USEC_PER_SEC;      ///< with a side that takes nothing
  static constexpr gint64 steady_after = 10 * G_USEC_PER_SEC;  ///< then failures are counted from 0 again
  static constexpr unsigned longest_delay = 15;                ///< seconds, of our own accord
  static constexpr unsigned longest_wish = 3600;               ///< seconds, if the other side asks for it

  Output(Config config, Events events);
  virtual ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  /// When the generation has begun: its latency is known then.
  void start();
  /// Nothing more comes: the other side gets five seconds to take the rest; ended() follows.
  void finish();

  const std::string& name() const { return config_.name; }
  const std::string& shown_address() const { return shown_; }
  State state() const { return state_; }
  const char* state_name() const;
  /// Why the last attempt failed; empty while it sends.
  const std::string& reason() const { return reason_; }
  unsigned attempts() const { return attempts_; }
  unsigned connections() const { return connections_; }
  virtual OutputFrames frames() const = 0;

 protected:
  /// Empty, or why it could not begin. Success is told by started(), the end by broken().
  virtual std::string open() = 0;
  /// Releases what open() made; nothing may wait.
  virtual void close() = 0;
  /// Tells the other side that nothing more comes; finished() when it has taken all.
  virtual void drain() { finished(); }
  /// Four times a second while open.
  virtual void look() {}
  void started();
  /// Tried again at the earliest after `at_least` seconds, of which more than an hour counts as an hour.
  void broken(const std::string& reason, unsigned at_least = 0);
  void finished() { end(""); }

 private:
  void attempt();
  gboolean tick();
  void end(const std::string& why);
  std::string title() const;

  const Config config_;
  const std::string shown_;
  Events events_;
  State state_ = State::Connecting;
  std::string reason_;
  unsigned attempts_ = 0, connections_ = 0, failures_ = 0;
  guint retry_ = 0, tick_ = 0;
  gint64 sending_since_ = 0, finishing_since_ = 0;
};

}  // namespace flowcache
