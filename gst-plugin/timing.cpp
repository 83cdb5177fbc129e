// SPDX-License-Identifier: LGPL-2.1-or-later
#include "timing.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

namespace flowcache::gst {

PipelineClock::PipelineClock(GstElement* element) {
  GST_OBJECT_LOCK(element);
  if (GST_ELEMENT_CLOCK(element) != nullptr) {
    clock_ = GST_CLOCK_CAST(gst_object_ref(GST_ELEMENT_CLOCK(element)));
  }
  base_time_ = element->base_time;
  GST_OBJECT_UNLOCK(element);
}

GstClockTime PipelineClock::running_time() const {
  const GstClockTime now = gst_clock_get_time(clock_);
  return now > base_time_ ? now - base_time_ : 0;
}

GstClockTime PipelineClock::time_at(GstClockTime running_time) const {
  const GstClockTime most = GST_CLOCK_TIME_NONE - 1;
  return running_time > most - base_time_ ? most : base_time_ + running_time;
}

namespace {

// How much a negative offset takes away; also right for the smallest number.
GstClockTime taken_by(GstClockTimeDiff offset) {
  return offset < 0 ? -static_cast<GstClockTime>(offset) : 0;
}

}  // namespace

GstClockTime shifted(GstClockTime running_time, GstClockTimeDiff offset) {
  const GstClockTime most = GST_CLOCK_TIME_NONE - 1, back = taken_by(offset);
  if (back > 0) return running_time > back ? running_time - back : 0;
  return running_time > most - static_cast<GstClockTime>(offset) ? most : running_time + offset;
}

void Timeline::reset(guint fps_n, guint fps_d) {
  *this = Timeline();
  fps_n_ = fps_n;
  fps_d_ = fps_d;
}

void Timeline::anchor(GstClockTime running_time) {
  origin_ = std::max(running_time, taken_by(offset_));
  anchor_slot_ = slot_;
}

void Timeline::unanchor() {
  end_slot();
  origin_ = GST_CLOCK_TIME_NONE;
}

void Timeline::set_parts(guint parts) {
  if (parts != parts_) end_slot();
  parts_ = parts;
}

void Timeline::end_slot() {
  slot_ = next_slot();
  part_ = 0;
}

void Timeline::advance() {
  if (++part_ == parts_) end_slot();
}

void Timeline::go_to(guint64 slot) {
  slot_ = part_ = 0;
  anchor(0);
  slot_ = slot;
}

GstClockTime Timeline::frame_duration() const {
  return gst_util_uint64_scale(GST_SECOND, fps_d_, fps_n_);
}

guint64 Timeline::slot_at(GstClockTime stamp) const {
  const GstClockTime ahead = offset_ > 0 ? static_cast<GstClockTime>(offset_) : 0;
  return stamp <= ahead ? 0 : gst_util_uint64_scale(stamp - ahead, fps_n_, GST_SECOND * fps_d_);
}

GstClockTime Timeline::time_of(guint64 slot, guint part) const {
  const guint64 number = (slot - anchor_slot_) * parts_ + part;
  const GstClockTime since =
      gst_util_uint64_scale(number, GST_SECOND * fps_d_, static_cast<guint64>(fps_n_) * parts_);
  return (anchored() ? origin_ : 0) + since;
}

guint64 Timeline::skip_to(GstClockTime running_time) {
  if (!anchored() || running_time <= pts()) return 0;
  end_slot();
  const guint64 next = slot_;
  slot_ = std::max(
      next, anchor_slot_ + gst_util_uint64_scale_ceil(running_time - origin_, fps_n_, GST_SECOND * fps_d_));
  return slot_ - next;
}

void Timeline::shift_to(GstClockTime running_time) {
  if (!anchored() || running_time <= pts()) return;
  end_slot();
  anchor(running_time);
}

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

// The clock's callback may still run after the wait has ended, so it owns the data that it uses.
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
    if (set != GST_CLOCK_OK) alarm->rang = true;  // if the clock has no alarm, the stream must still go on
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
  // Taking the lock makes sure that a waiter is not between its look at the predicate and its sleep.
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
