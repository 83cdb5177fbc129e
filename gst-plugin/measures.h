// SPDX-License-Identifier: LGPL-2.1-or-later
// Counters and measurements of a running stream, and decisions that follow from them. Plain numbers, no
// GObject.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>

#include "flowcache.h"

namespace flowcache::gst {

struct StatisticsSnapshot {
  double fps = 0;                                               // at the pad, over the latest frames
  double chunk_ms_p50 = 0, chunk_ms_p95 = 0, chunk_ms_p99 = 0;  // over the latest 128 chunks
  uint64_t frames = 0;                                          // frames pushed, with repeated ones
  uint64_t repeated = 0, skipped = 0, underruns = 0;            // numbers of frames, slots and events
  fc_stream_stats stream{};
  std::string device, precision;
};

// Counters of the element. They are counted where things happen, and read together as a snapshot. Any
// thread.
class Statistics {
 public:
  void reset();
  void set_engine(const std::string& device, const std::string& precision);
  // Returns the number of devices before; 0: this is the first chunk.
  uint32_t chunk_finished(double seconds, const fc_stream_stats& stream);
  // now_us: any monotonic microseconds; only used for `fps`.
  void frame_pushed(int64_t now_us, bool repeated);
  // This many slots were left empty without an underrun.
  void skipped(uint64_t slots);
  // One underrun left this many slots empty.
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

// The q-quantile (0..1) by nearest rank of n > 0 values, which are reordered.
double quantile(double* values, size_t n, double q);

// Finds out how late a frame may come, from the times that chunks take. If a chunk takes G seconds to make
// and its N frames play for N/f seconds, its frames come at most G - N/f late. The budget is this time in
// whole frames, but at most one chunk; for a machine that is always too slow there is the underrun policy.
// The budget grows at once. It shrinks only after a whole window of chunks would have needed two frames
// less, so that the latency of a pipeline does not change all the time. One thread at a time.
class LatencyEstimator {
 public:
  static constexpr size_t kWindow = 16;  // chunks

  // frame_ns: duration of a frame; frames_per_chunk > 0. Forgets all measurements.
  void reset(uint64_t frame_ns, uint32_t frames_per_chunk);
  // A chunk is expected to take this long. Before the first one. Returns true if budget() changed.
  bool expect(double chunk_seconds);
  // A chunk took this long. The first chunk is left out, because it includes the warm-up of the machine.
  // Returns true if budget() changed.
  bool add(double chunk_seconds);
  // Nanoseconds, a multiple of the frame's duration.
  uint64_t budget() const { return budget_frames_ * frame_ns_; }

 private:
  uint64_t frames_for(double chunk_seconds) const;

  uint64_t frame_ns_ = 0;
  uint32_t frames_per_chunk_ = 1;
  uint64_t budget_frames_ = 0;
  bool first_ = true;
  std::deque<uint64_t> needed_frames_;
};

// Decides how long a chunk may take, from how late the sink says that frames are. The deadline is a share of
// the time that a chunk plays. It becomes shorter by a tenth when half a chunk's frames in a row were late,
// and longer by a twentieth when two chunks' frames in a row were in time. So quality is reduced before
// frames are dropped, and it returns without going up and down. After a change the governor waits, because
// frames that were made before the change are still on their way. One thread at a time.
class QosGovernor {
 public:
  static constexpr double kEasy = 0.8;      // the engine's own share
  static constexpr double kTightest = 0.3;  // with less, the work around the network alone takes too long

  // frame_ns: duration of a frame; frames_per_chunk > 0; chunks_ahead: how many chunks may be on their way.
  void reset(uint64_t frame_ns, uint32_t frames_per_chunk, uint32_t chunks_ahead);
  // A frame reached the sink this many nanoseconds late (< 0: early). Returns true if deadline() changed.
  bool frame_shown(int64_t late_ns);
  // The seconds that a chunk may take.
  double deadline() const { return part_ * chunk_seconds_; }
  bool tightened() const { return part_ < kEasy; }

 private:
  double chunk_seconds_ = 0, part_ = kEasy;
  uint64_t frame_ns_ = 0;
  uint32_t late_limit_ = 1, early_limit_ = 1, settle_ = 1;
  uint32_t late_ = 0, early_ = 0, wait_ = 0;  // frames
};

// Notices when the machine is too slow for the stream even with the fewest computed steps. That is when
// several chunks in a row took longer than they play although no step was left to leave out. It is reported
// once, and again only after many chunks in a row were in time. One thread at a time.
class SpeedWatch {
 public:
  static constexpr int kPatience = 4;   // slow chunks in a row
  static constexpr int kRecovery = 16;  // chunks in time, in a row, before it may be reported again

  // playing_seconds: how long a chunk plays. Forgets all measurements.
  void reset(double playing_seconds);
  // A chunk took `seconds`. least_seconds: expected time of a chunk with the fewest computed steps; 0 in
  // streams that are not governed. Returns true if it must be reported now.
  bool add(double seconds, double least_seconds);
  double playing_seconds() const { return playing_seconds_; }

 private:
  double playing_seconds_ = 0;
  int slow_ = 0, in_time_ = 0;
  bool said_ = false;
};

}  // namespace flowcache::gst
