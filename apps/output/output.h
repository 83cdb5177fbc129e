// SPDX-License-Identifier: LGPL-2.1-or-later
// An output of a running generator. When the receiver is lost, or takes nothing for ten seconds, the output
// is closed and tried again after 1, 2, 4 … 15 seconds, while the generator goes on. push.h sends to sinks of
// GStreamer, live/whip.cpp by WebRTC. Main loop only.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "handles.h"

namespace flowcache {

// Video frames since the start, over all attempts.
struct OutputFrames {
  guint64 sent = 0;          // handed to the other side's pipeline
  guint64 dropped = 0;       // left out because it did not keep up
  GstClockTime waiting = 0;  // duration of the frames that wait there now
  gint64 stalled = 0;        // microseconds in which it has taken none; 0: it takes them
};

class Output {
 public:
  enum class State { Connecting, Sending, Waiting, Ended };

  struct Config {
    std::string name;     // for people; may be empty
    std::string address;  // only scheme, host and port are shown: the rest may hold a key
    // How many attempts in a row may fail before it gives up; none: it never does.
    std::optional<unsigned> retries = std::nullopt;
  };
  struct Events {
    std::function<void(const std::string& level, const std::string& text)> tell;
    // Called once, when there will be no more attempts. `why` is empty if the receiver took everything.
    // It may release the output.
    std::function<void(const std::string& why)> ended;
  };

  static constexpr gint64 patience = 10 * G_USEC_PER_SEC;      // with a receiver that takes nothing
  static constexpr gint64 steady_after = 10 * G_USEC_PER_SEC;  // then failures are counted from 0 again
  static constexpr unsigned longest_delay = 15;                // seconds between attempts
  static constexpr unsigned longest_wish = 3600;  // seconds, if the receiver asks for a longer delay

  Output(Config config, Events events);
  virtual ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  // Call this when the generator has begun, because its latency is known then.
  void start();
  // The stream has ended. The receiver has five seconds to take the rest; then ended() is called.
  void finish();

  const std::string& name() const { return config_.name; }
  const std::string& shown_address() const { return shown_; }
  State state() const { return state_; }
  const char* state_name() const;
  // Why the last attempt failed; empty while it sends.
  const std::string& reason() const { return reason_; }
  unsigned attempts() const { return attempts_; }
  unsigned connections() const { return connections_; }
  virtual OutputFrames frames() const = 0;

 protected:
  // Begins an attempt. Returns why that failed, or an empty string. The subclass then calls started() when
  // it sends, and broken() when the receiver is lost.
  virtual std::string open() = 0;
  // Releases what open() made. It must not block.
  virtual void close() = 0;
  // Tells the receiver that the stream has ended. The subclass calls finished() when it has taken
  // everything.
  virtual void drain() { finished(); }
  // Called four times a second while the output is open.
  virtual void look() {}
  void started();
  // The next attempt comes after `at_least` seconds or later. More than an hour counts as an hour.
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
