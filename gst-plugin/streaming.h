// SPDX-License-Identifier: LGPL-2.1-or-later
// When frames are due: waiting for them and for their time, and what becomes of the time grid when either is
// late. Streaming thread only.
#pragma once

#include <functional>
#include <optional>

#include "flowcachesrc.h"

namespace flowcache::gst {

/// One call of create(). What may change while it waits is looked up when it is needed.
struct Turn {
  GstFlowCacheSrc* source;
  SourceState& state;
  std::shared_ptr<FrameWorker> worker;
  bool live;

  explicit Turn(GstFlowCacheSrc* src)
      : source(src), state(*src->state), live(gst_base_src_is_live(GST_BASE_SRC(src)) != FALSE) {
    std::lock_guard lock(state.mutex);
    worker = state.worker;
  }

  template <typename Value>
  Value setting(Value Settings::*member) const {
    std::lock_guard lock(state.mutex);
    return state.settings.*member;
  }
  bool frames_waiting() const { return worker->ring_state() != FrameWorker::RingState::Empty; }
};

/// Index in the video, from the start or the last reset.
inline guint64 number_of(const Frame& frame) {
  const fc_chunk_info& chunk = frame.chunk->info();
  return chunk.chunk * chunk.frames + frame.index;
}

enum class Wait { Ready, TimeReached, Flushing };

/// Waits for `ready` or a running time. A pause stops the clock that counts: the wait goes on after it.
Wait wait_until(Turn& turn, const std::function<bool()>& ready, GstClockTime running_time);

/// Waits for the first frame of all, and tells downstream meanwhile that nothing comes yet, so that sound
/// beside it goes on. Never returns TimeReached.
Wait wait_for_first_frame(Turn& turn);

/// Whether a slot without a frame is a black one: before the first frame, if asked for.
bool shows_black(const Turn& turn);

/// No frame came in time. By the underrun policy either a frame is repeated (true in *repeated), or the late
/// one is waited for and slots are left out, or the grid moves.
Wait handle_underrun(Turn& turn, bool* repeated);

/// A frame that is later than the reported latency is too late for every sink. After a sink that blocked, or
/// a pause over which running time went on, the video goes on now and not where it stopped.
enum class Late { No, GridMoved, Flushing };
Late catch_up(Turn& turn);

/// Waits for the current slot's time; one that has begun already is not waited for. False if interrupted.
bool wait_for_slot(Turn& turn);

/// The first frame begins the time grid, and the stream's own time at 0. False if interrupted.
bool anchor(Turn& turn);

/// A flush: the stream starts over, and so does the time grid.
void start_over(Turn& turn);

/// The grid has moved: tells the worker when its oldest frame is due, and downstream that the duration has
/// changed, if there is one.
void follow_grid(Turn& turn);

/// Time in the stream: 0 at its first frame.
GstClockTime stream_time(const SourceState& state);

/// When the current slot is due by the machine's calendar; nothing for streams that are not live.
std::optional<GstClockTime> wall_time_of_slot(const Turn& turn);

}  // namespace flowcache::gst
