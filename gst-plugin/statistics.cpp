// SPDX-License-Identifier: LGPL-2.1-or-later
#include "statistics.h"

#include <algorithm>
#include <cmath>

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

void Statistics::chunk_finished(double seconds, const fc_stream_stats& stream) {
  std::lock_guard lock(mutex_);
  chunk_ms_[chunk_count_++ % kChunks] = seconds * 1e3;
  now_.stream = stream;
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

}  // namespace flowcache::gst
