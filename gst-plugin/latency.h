// SPDX-License-Identifier: LGPL-2.1-or-later
// How late a frame may come, from how long chunks take. Plain numbers; one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

namespace flowcache::gst {

/// A frame of a chunk that takes G seconds to make, while its N frames play for N/f, comes at worst G - N/f
/// late. The budget is that, in whole frames, and at most one chunk: a machine that is too slow for good is
/// the business of the underrun policy. It grows at once and shrinks only after a whole window of chunks that
/// would have needed two frames less, so that a pipeline is not asked to change its latency all the time.
class LatencyEstimator {
 public:
  static constexpr size_t kWindow = 16;  ///< chunks

  /// frame_ns: duration of a frame; frames_per_chunk > 0. Forgets all measurements.
  void reset(uint64_t frame_ns, uint32_t frames_per_chunk);
  /// A chunk took this long. The first one is left out: it pays for warm-up.
  /// True if budget() changed.
  bool add(double chunk_seconds);
  /// Nanoseconds, a multiple of the frame's duration.
  uint64_t budget() const { return budget_frames_ * frame_ns_; }

 private:
  uint64_t frame_ns_ = 0;
  uint32_t frames_per_chunk_ = 1;
  uint64_t budget_frames_ = 0;
  bool first_ = true;
  std::deque<uint64_t> needed_frames_;
};

}  // namespace flowcache::gst
