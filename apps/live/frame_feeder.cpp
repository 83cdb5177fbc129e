// SPDX-License-Identifier: LGPL-2.1-or-later
#include "frame_feeder.h"

#include <gst/app/app.h>
#include <gst/video/video.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace flowcache::live {
namespace {

// After a machine has slept, or stood still for longer than this, the frames of that time are left out.
constexpr GstClockTime most_behind = GST_SECOND;

GstBuffer* grey(const GstVideoInfo& info) {
  GstBuffer* buffer = gst_buffer_new_allocate(nullptr, GST_VIDEO_INFO_SIZE(&info), nullptr);
  gst_buffer_memset(buffer, 0, 128, GST_VIDEO_INFO_SIZE(&info));
  return buffer;
}

}  // namespace

FrameFeeder::FrameFeeder(GstElement* source, GstElement* filter, GstCaps* caps, GstClockTime base_time)
    : source_(GST_ELEMENT(gst_object_ref(source))),
      filter_(GST_ELEMENT(gst_object_ref(filter))),
      caps_(gst_caps_ref(caps)),
      base_time_(base_time) {
  GstVideoInfo info;
  gst_video_info_from_caps(&info, caps);
  rate_ = {GST_VIDEO_INFO_FPS_N(&info), GST_VIDEO_INFO_FPS_D(&info)};
  still_.reset(grey(info));
  thread_ = std::thread([this] { run(); });
}

FrameFeeder::~FrameFeeder() {
  stop();
}

void FrameFeeder::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stopped_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void FrameFeeder::set_strength(double strength) {
  std::lock_guard lock(mutex_);
  strength_ = strength;
}

double FrameFeeder::strength() const {
  std::lock_guard lock(mutex_);
  return strength_;
}

void FrameFeeder::set_chunk(unsigned frames) {
  std::lock_guard lock(mutex_);
  chunk_ = std::max(1U, frames);
}

void FrameFeeder::offer(GstBuffer* frame) {
  std::lock_guard lock(mutex_);
  ++counts_.frames;
  last_came_ = g_get_monotonic_time();
  newest_.reset(gst_buffer_ref(frame));
  waiting_.emplace_back(gst_buffer_ref(frame));
  if (waiting_.size() <= most_waiting) return;
  waiting_.pop_front();
  ++counts_.dropped;
}

void FrameFeeder::forget() {
  std::lock_guard lock(mutex_);
  waiting_.clear();
  newest_.reset();
  last_came_ = 0;
}

FrameFeeder::Figures FrameFeeder::figures() const {
  std::lock_guard lock(mutex_);
  Figures figures = counts_;
  const gint64 time = g_get_monotonic_time();
  if (last_came_ != 0) figures.age = time - last_came_;
  figures.flowing = flowing_at(time);
  return figures;
}

GstBuffer* FrameFeeder::newest() const {
  std::lock_guard lock(mutex_);
  return newest_ && flowing_at(g_get_monotonic_time()) ? gst_buffer_ref(newest_.get()) : nullptr;
}

GstClockTime FrameFeeder::time_of(guint64 slot) const {
  return gst_util_uint64_scale(slot, GST_SECOND * static_cast<guint64>(rate_.d),
                               static_cast<guint64>(rate_.n));
}

GstClockTime FrameFeeder::now() const {
  const GstPtr<GstClock> clock(gst_system_clock_obtain());
  return gst_clock_get_time(clock.get()) - base_time_;
}

// A chunk that has frames of no input in it must not show them. So the strength falls once the input has filled
// a chunk, and is 1 again before the first frame that is not the input's.
std::pair<GstBuffer*, double> FrameFeeder::next_frame() {
  if (!waiting_.empty()) {
    frame_ = std::move(waiting_.front());
    waiting_.pop_front();
  } else if (frame_ && last_came_ != 0) {
    ++counts_.repeated;
  }
  const bool flowing = flowing_at(g_get_monotonic_time());
  settled_ = flowing ? std::min(settled_ + 1, chunk_ + 1) : 0;
  unsettled_ = flowing ? 0 : std::min(unsettled_ + 1, chunk_ + 1);
  if (unsettled_ > chunk_) frame_.reset();
  return {gst_buffer_copy(frame_ ? frame_.get() : still_.get()), settled_ > chunk_ ? strength_ : 1};
}

void FrameFeeder::run() {
  const auto slot_at = [this](GstClockTime time) {
    return gst_util_uint64_scale_ceil(time, static_cast<guint64>(rate_.n),
                                      GST_SECOND * static_cast<guint64>(rate_.d));
  };
  std::unique_lock lock(mutex_);
  for (guint64 slot = slot_at(now());; ++slot) {
    if (now() > time_of(slot) + most_behind) slot = slot_at(now());
    const auto stops = [this] { return stopping_; };
    const auto until = static_cast<gint64>(time_of(slot)) - static_cast<gint64>(now());
    if (stopped_.wait_for(lock, std::chrono::nanoseconds(std::max<gint64>(0, until)), stops)) return;
    const auto [buffer, strength] = next_frame();
    lock.unlock();
    GST_BUFFER_PTS(buffer) = time_of(slot);
    GST_BUFFER_DTS(buffer) = GST_CLOCK_TIME_NONE;
    GST_BUFFER_DURATION(buffer) = time_of(slot + 1) - time_of(slot);
    GST_BUFFER_OFFSET(buffer) = GST_BUFFER_OFFSET_END(buffer) = slot;
    GST_BUFFER_FLAG_UNSET(buffer, GST_BUFFER_FLAG_DISCONT);
    if (std::exchange(strength_in_force_, strength) != strength)
      g_object_set(filter_.get(), "strength", strength, nullptr);
    // Never waits: the appsrc drops what is too much. While the pipeline starts anew it takes nothing.
    gst_app_src_push_buffer(GST_APP_SRC(source_.get()), buffer);
    lock.lock();
  }
}

}  // namespace flowcache::live
