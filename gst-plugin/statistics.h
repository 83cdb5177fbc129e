// SPDX-License-Identifier: LGPL-2.1-or-later
// What the element has done so far, counted where it happens and read as one snapshot. Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <string>

#include "flowcache.h"

namespace flowcache::gst {

struct StatisticsSnapshot {
  double fps = 0;                                               ///< at the pad, over the last frames
  double chunk_ms_p50 = 0, chunk_ms_p95 = 0, chunk_ms_p99 = 0;  ///< of the last 128 chunks
  uint64_t frames = 0;                                          ///< pushed, repeats included
  uint64_t repeated = 0, skipped = 0, underruns = 0;            ///< frames, slots, events
  fc_stream_stats stream{};
  std::string device, precision;
};

class Statistics {
 public:
  void reset();
  void set_engine(const std::string& device, const std::string& precision);
  void chunk_finished(double seconds, const fc_stream_stats& stream);
  /// now_us: any monotonic microseconds; only used for `fps`.
  void frame_pushed(int64_t now_us, bool repeated);
  /// Slots that were left empty without an underrun.
  void skipped(uint64_t slots);
  /// One underrun event that left this many slots empty.
  void underrun(uint64_t skipped_slots);
  StatisticsSnapshot snapshot() const;

 private:
  static constexpr size_t kChunks = 128, kFrames = 64;
  mutable std::mutex mutex_;
  StatisticsSnapshot now_;
  std::array<double, kChunks> chunk_ms_{};
  uint64_t chunk_count_ = 0;
  std::array<int64_t, kFrames> pushed_us_{};
};

/// The q-quantile (0..1) by nearest rank of n > 0 values, which are reordered.
double quantile(double* values, size_t n, double q);

}  // namespace flowcache::gst
