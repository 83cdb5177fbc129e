// SPDX-License-Identifier: LGPL-2.1-or-later
#include "waiter.h"

#include <condition_variable>
#include <mutex>

namespace flowcache::gst {

struct Waiter::Shared {
  std::mutex mutex;
  std::condition_variable changed;
  bool interrupted = false;
  bool paused = false;
  guint64 pauses = 0;

  void set(bool Shared::*flag, bool value) {
    {
      std::lock_guard lock(mutex);
      this->*flag = value;
    }
    changed.notify_all();
  }
};

/// The clock's callback may still run after the wait has ended, so it owns what it touches.
struct Waiter::Alarm {
  std::shared_ptr<Shared> shared;
  bool rang = false;

  static gboolean ring(GstClock*, GstClockTime, GstClockID, gpointer data) {
    Alarm& alarm = **static_cast<std::shared_ptr<Alarm>*>(data);
    {
      std::lock_guard lock(alarm.shared->mutex);
      alarm.rang = true;
    }
    alarm.shared->changed.notify_all();
    return TRUE;
  }

  static void drop(gpointer data) { delete static_cast<std::shared_ptr<Alarm>*>(data); }
};

Waiter::Waiter() : shared_(std::make_shared<Shared>()) {}
Waiter::~Waiter() = default;

Waiter::Result Waiter::wait(const std::function<bool()>& ready, GstClock* clock, GstClockTime deadline,
                            guint64 pauses) {
  const bool timed = clock != nullptr && GST_CLOCK_TIME_IS_VALID(deadline);
  std::shared_ptr<Alarm> alarm;
  GstClockID id = nullptr;
  if (timed) {
    alarm = std::make_shared<Alarm>();
    alarm->shared = shared_;
    id = gst_clock_new_single_shot_id(clock, deadline);
    const GstClockReturn set =
        gst_clock_id_wait_async(id, Alarm::ring, new std::shared_ptr<Alarm>(alarm), Alarm::drop);
    if (set != GST_CLOCK_OK) alarm->rang = true;  // a clock that cannot ring must not stop the stream
  }

  Result result = Result::Ready;
  {
    std::unique_lock lock(shared_->mutex);
    shared_->changed.wait(lock, [&] {
      if (shared_->interrupted) {
        result = Result::Interrupted;
      } else if (timed && (shared_->paused || shared_->pauses != pauses)) {
        result = Result::Paused;
      } else if (timed && alarm->rang) {
        result = Result::TimeReached;
      } else if (ready()) {
        result = Result::Ready;
      } else {
        return false;
      }
      return true;
    });
  }
  if (id != nullptr) {
    gst_clock_id_unschedule(id);
    gst_clock_id_unref(id);
  }
  return result;
}

std::optional<guint64> Waiter::wait_while_paused() {
  std::unique_lock lock(shared_->mutex);
  shared_->changed.wait(lock, [&] { return shared_->interrupted || !shared_->paused; });
  if (shared_->interrupted) return std::nullopt;
  return shared_->pauses;
}

void Waiter::notify() {
  // The empty critical section orders this against a waiter that has just looked and is about to sleep.
  { std::lock_guard lock(shared_->mutex); }
  shared_->changed.notify_all();
}

void Waiter::interrupt() {
  shared_->set(&Shared::interrupted, true);
}
void Waiter::resume() {
  shared_->set(&Shared::interrupted, false);
}
void Waiter::pause() {
  {
    std::lock_guard lock(shared_->mutex);
    shared_->paused = true;
    ++shared_->pauses;
  }
  shared_->changed.notify_all();
}

guint64 Waiter::pauses() const {
  std::lock_guard lock(shared_->mutex);
  return shared_->pauses;
}

void Waiter::unpause() {
  shared_->set(&Shared::paused, false);
}

}  // namespace flowcache::gst
