// SPDX-License-Identifier: LGPL-2.1-or-later
// How much time a chunk may take, from how late the sink says frames are. Plain numbers; one thread at a
// time.
#pragma once

#include <cstdint>

namespace flowcache::gst {

/// The deadline is a part of the time that a chunk plays. It tightens by a tenth as soon as half a chunk's
/// frames in a row were late, and relaxes by a twentieth only after two chunks' frames in a row were in time,
/// so that quality gives way before frames drop and comes back without swinging. After each change the effect
/// must be waited for: frames that were made before it are still on their way.
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

}  // namespace flowcache::gst
