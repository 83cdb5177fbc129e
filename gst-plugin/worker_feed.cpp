// SPDX-License-Identifier: LGPL-2.1-or-later
// Pictures that come in: given to the engine, on the giver's thread, while the worker's thread makes the chunks before.
#include <string>

#include "worker.h"

namespace flowcache::gst {

bool FrameWorker::has_room_for_feed() const {
  return feed_open_ && !resetting_ && fed_ < made_ + in_flight_ + 1;
}

uint32_t FrameWorker::frames_wanted() {
  {
    std::unique_lock lock(mutex_);
    wake_feed_.wait(lock, [&] { return (feed_open_ && !resetting_) || feed_is_over(); });
    if (feed_is_over()) return 0;
  }
  const std::lock_guard feeding(feeding_);
  uint32_t frames = 0;
  const fc_stream* open = nullptr;
  {
    std::lock_guard lock(mutex_);
    open = stream_;
  }
  if (open == nullptr || library_.stream_feed_frames(stream_, &frames) != FC_OK) return 0;
  return frames;
}

FrameWorker::Fed FrameWorker::feed(const fc_feed& feed, uint64_t time, bool wait) {
  {
    std::unique_lock lock(mutex_);
    if (!wait && !feed_is_over() && !has_room_for_feed()) return Fed::Busy;
    wake_feed_.wait(lock, [&] { return has_room_for_feed() || feed_is_over(); });
    if (feed_is_over()) return Fed::Stopped;
  }
  const std::lock_guard feeding(feeding_);
  fc_stream* open = nullptr;
  {
    std::lock_guard lock(mutex_);
    if (feed_is_over() || !has_room_for_feed()) return Fed::Busy;  // a reset came
    open = stream_;
  }
  if (open == nullptr) return Fed::Stopped;
  const auto begun = std::chrono::steady_clock::now();
  if (const fc_status status = library_.stream_feed(open, &feed, nullptr); status != FC_OK) {
    fail(status, last_error_of(library_));
    return Fed::Stopped;
  }
  const std::chrono::duration<double> encoding = std::chrono::steady_clock::now() - begun;
  {
    std::lock_guard lock(mutex_);
    fed_times_[fed_++] = {time, encoding.count()};
    draining_ = false;
  }
  wake_worker_.notify_all();
  return Fed::Taken;
}

bool FrameWorker::is_open_for_feed() const {
  std::lock_guard lock(mutex_);
  return (feed_open_ && !resetting_) || feed_is_over();
}

void FrameWorker::drain() {
  {
    std::lock_guard lock(mutex_);
    draining_ = true;
  }
  wake_worker_.notify_all();
}

bool FrameWorker::idle() const {
  std::lock_guard lock(mutex_);
  return fed_ <= made_;
}

uint64_t FrameWorker::chunks_fed() const {
  std::lock_guard lock(mutex_);
  return fed_;
}

void FrameWorker::interrupt_feed(bool interrupted) {
  {
    std::lock_guard lock(mutex_);
    feed_interrupted_ = interrupted;
  }
  wake_feed_.notify_all();
}

}  // namespace flowcache::gst
