// SPDX-License-Identifier: LGPL-2.1-or-later
// What is counted and measured while a stream runs, and what follows from it. Plain numbers.
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
  double fps = 0;                                               ///< at the pad, over the last frames
  double chunk_ms_p50 = 0, chunk_ms_p95 = 0, chunk_ms_p99 = 0;  ///< of the last 128 chunks
  uint64_t frames = 0;                                          ///< pushed, repeats included
  uint64_t repeated = 0, skipped = 0, underruns = 0;            ///< frames, slots, events
  fc_stream_stats stream{};
  std::string device, precision;
};

/// What the element has done so far: counted where it happens, read as one snapshot. Any thread.
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

/// How late a frame may come, from how long chunks take. If a chunk takes G seconds to make and its N frames
/// play for N/f seconds, its frames come at most G - N/f late. The budget is that, in whole frames, and at
/// most one chunk: for a machine that is always too slow there is the underrun policy. The budget grows at
/// once. It shrinks only after a whole window of chunks that would have needed two frames less, so that
/// pipelines are not asked to change their latency all the time. One thread at a time.
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

/// How long a chunk may take, from how late the sink says frames are. The deadline is a part of the time that
/// a chunk plays. It tightens by a tenth as soon as half a chunk's frames in a row were late, and relaxes by
/// a twentieth only after two chunks' frames in a row were in time: quality gives way before frames drop, and
/// comes back without swinging. After a change the governor waits, as frames that were made before it are
/// still on their way. One thread at a time.
class QosGovernor {
 public:
  static constexpr double kEasy = 0.8;      ///< the engine's own
  static constexpr double kTightest = 0.3;  ///< below that the overhead around the network is all there is

  /// frame_ns: duration of a frame; frames_per_chunk > 0; chunks_ahead: how many chunks may be on their way.
  void reset(uint64_t frame_ns, uint32_t frames_per_chunk, uint32_t chunks_ahead);
  /// A frame reached the sink this much too late (< 0: early), in nanoseconds. True if deadline() changed.
  bool frame_shown(int64_t late_ns);
  /// Seconds a chunk may take.
  double deadline() const { return part_ * chunk_seconds_; }
  bool tightened() const { return part_ < kEasy; }

 private:
  double chunk_seconds_ = 0, part_ = kEasy;
  uint64_t frame_ns_ = 0;
  uint32_t late_limit_ = 1, early_limit_ = 1, settle_ = 1;
  uint32_t late_ = 0, early_ = 0, wait_ = 0;  ///< frames
};

/// Whether the machine is too slow for the stream, however little it computes. It says so once for a slow
/// spell: when some chunks in a row took longer than they play although nothing was left to leave out. It
/// says so again only after many chunks were in time. One thread at a time.
class SpeedWatch {
 public:
  static constexpr int kPatience = 4;   ///< slow chunks in a row
  static constexpr int kRecovery = 16;  ///< chunks in a row that were not, before it is said again

  /// playing_seconds: how long a chunk plays. Forgets what was.
  void reset(double playing_seconds);
  /// A chunk took `seconds`; the least that one can take is `least_seconds`, 0 in streams that are not
  /// governed. True if it is time to say so.
  bool add(double seconds, double least_seconds);
  double playing_seconds() const { return playing_seconds_; }

 private:
  double playing_seconds_ = 0;
  int slow_ = 0, in_time_ = 0;
  bool said_ = false;
};

}  // namespace flowcache::gst
