// SPDX-License-Identifier: LGPL-2.1-or-later
// One place where the streaming thread sleeps: until frames arrive, a time comes on the pipeline's clock, or
// somebody interrupts. GstBaseSrc's own clock wait restarts the time grid at every pause and cannot end early
// when a frame arrives, so the element waits by itself.
#pragma once

#include <gst/gst.h>

#include <functional>
#include <memory>
#include <optional>

namespace flowcache::gst {

class Waiter {
 public:
  enum class Result {
    Ready,        ///< the predicate holds
    TimeReached,  ///< the clock got there; the predicate may hold too
    Interrupted,  ///< interrupt() until resume()
    Paused        ///< pause() until unpause(); only for waits with a deadline, which a pause makes stale
  };

  Waiter();
  ~Waiter();

  /// Streaming thread only. `ready` is called with the waiter's lock held and may take other locks, whose
  /// holders must not call this object. `deadline` is a time of `clock`; GST_CLOCK_TIME_NONE or no clock: no
  /// deadline.
  /// `pauses`: pauses() from before the deadline was computed; a pause since then has made it stale, also if
  /// it is over.
  Result wait(const std::function<bool()>& ready, GstClock* clock, GstClockTime deadline, guint64 pauses);
  /// How many pauses there have been.
  guint64 pauses() const;

  /// Streaming thread only: pauses() as soon as no pause is on; nothing if interrupted.
  std::optional<guint64> wait_while_paused();

  /// Any thread: look at the predicate again.
  void notify();
  /// Any thread: waits end with Interrupted from now on / go on again.
  void interrupt();
  void resume();
  /// Any thread: waits with a deadline end with Paused from now on / go on again. A wait for frames alone
  /// goes on.
  void pause();
  void unpause();

 private:
  struct Shared;
  struct Alarm;
  std::shared_ptr<Shared> shared_;
};

}  // namespace flowcache::gst
