// SPDX-License-Identifier: LGPL-2.1-or-later
#include "measures.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace flowcache::gst {

double quantile(double* values, size_t n, double q) {
  const auto rank = static_cast<size_t>(std::ceil(q * static_cast<double>(n)));
  const size_t index = rank == 0 ? 0 : rank - 1;
  std::nth_element(values, values + index, values + n);
  return values[index];
}

void Statistics::reset() {
  std::lock_guard lock(mutex_);
  now_ = {};
  chunk_count_ = 0;
}

void Statistics::set_engine(const std::string& device, const std::string& precision) {
  std::lock_guard lock(mutex_);
  now_.device = device;
  now_.precision = precision;
}

uint32_t Statistics::chunk_finished(double seconds, const fc_stream_stats& stream) {
  std::lock_guard lock(mutex_);
  chunk_ms_[chunk_count_++ % kChunks] = seconds * 1e3;
  return std::exchange(now_.stream, stream).devices;
}

void Statistics::frame_pushed(int64_t now_us, bool repeated) {
  std::lock_guard lock(mutex_);
  pushed_us_[now_.frames++ % kFrames] = now_us;
  if (repeated) ++now_.repeated;
}

void Statistics::skipped(uint64_t slots) {
  std::lock_guard lock(mutex_);
  now_.skipped += slots;
}

void Statistics::underrun(uint64_t skipped_slots) {
  std::lock_guard lock(mutex_);
  ++now_.underruns;
  now_.skipped += skipped_slots;
}

StatisticsSnapshot Statistics::snapshot() const {
  std::lock_guard lock(mutex_);
  StatisticsSnapshot copy = now_;
  if (const size_t n = std::min<uint64_t>(chunk_count_, kChunks); n > 0) {
    auto values = chunk_ms_;
    copy.chunk_ms_p50 = quantile(values.data(), n, 0.50);
    copy.chunk_ms_p95 = quantile(values.data(), n, 0.95);
    copy.chunk_ms_p99 = quantile(values.data(), n, 0.99);
  }
  if (const size_t n = std::min<uint64_t>(now_.frames, kFrames); n > 1) {
    const int64_t newest = pushed_us_[(now_.frames - 1) % kFrames];
    const int64_t oldest = pushed_us_[(now_.frames - n) % kFrames];
    if (newest > oldest) copy.fps = static_cast<double>(n - 1) * 1e6 / static_cast<double>(newest - oldest);
  }
  return copy;
}

void LatencyEstimator::reset(uint64_t frame_ns, uint32_t frames_per_chunk) {
  *this = LatencyEstimator();
  frame_ns_ = frame_ns;
  frames_per_chunk_ = std::max(1u, frames_per_chunk);
}

uint64_t LatencyEstimator::frames_for(double chunk_seconds) const {
  const double late = chunk_seconds * 1e9 / static_cast<double>(frame_ns_) - frames_per_chunk_;
  return static_cast<uint64_t>(std::clamp(std::ceil(late), 0.0, static_cast<double>(frames_per_chunk_)));
}

bool LatencyEstimator::expect(double chunk_seconds) {
  if (frame_ns_ == 0 || !std::isfinite(chunk_seconds)) return false;
  const uint64_t before = std::exchange(budget_frames_, frames_for(chunk_seconds));
  return budget_frames_ != before;
}

bool LatencyEstimator::add(double chunk_seconds) {
  if (frame_ns_ == 0 || !std::isfinite(chunk_seconds)) return false;
  if (first_) {
    first_ = false;
    return false;
  }
  needed_frames_.push_back(frames_for(chunk_seconds));
  if (needed_frames_.size() > kWindow) needed_frames_.pop_front();

  const uint64_t worst = *std::max_element(needed_frames_.begin(), needed_frames_.end());
  const bool grow = worst > budget_frames_;
  const bool shrink = needed_frames_.size() == kWindow && worst + 2 <= budget_frames_;
  if (!grow && !shrink) return false;
  budget_frames_ = worst;
  return true;
}

void QosGovernor::reset(uint64_t frame_ns, uint32_t frames_per_chunk, uint32_t chunks_ahead) {
  *this = QosGovernor();
  const uint32_t frames = std::max(1u, frames_per_chunk);
  frame_ns_ = frame_ns;
  chunk_seconds_ = static_cast<double>(frame_ns) * frames * 1e-9;
  late_limit_ = std::max(1u, frames / 2);
  early_limit_ = 2 * frames;
  settle_ = frames * (chunks_ahead + 1);
}

bool QosGovernor::frame_shown(int64_t late_ns) {
  // Nobody sees a delay of less than half a frame.
  const bool late = late_ns > static_cast<int64_t>(frame_ns_ / 2);
  late_ = late ? late_ + 1 : 0;
  early_ = late_ns <= 0 ? early_ + 1 : 0;
  if (wait_ > 0) {
    --wait_;
    return false;
  }
  double part = part_;
  if (late_ >= late_limit_) part = std::max(kTightest, part_ * 0.9);
  if (early_ >= early_limit_) part = std::min(kEasy, part_ / 0.95);
  if (part == part_) return false;
  part_ = part;
  late_ = early_ = 0;
  wait_ = settle_;
  return true;
}

void SpeedWatch::reset(double playing_seconds) {
  *this = SpeedWatch();
  playing_seconds_ = playing_seconds;
}

bool SpeedWatch::add(double seconds, double least_seconds) {
  const bool slow = seconds > playing_seconds_ && (least_seconds == 0 || least_seconds > playing_seconds_);
  slow_ = slow ? slow_ + 1 : 0;
  in_time_ = slow ? 0 : in_time_ + 1;
  if (in_time_ >= kRecovery) said_ = false;
  if (said_ || slow_ < kPatience) return false;
  return said_ = true;
}

}  // namespace flowcache::gst
