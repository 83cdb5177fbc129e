// SPDX-License-Identifier: LGPL-2.1-or-later
// Waiting for frames and for their time, and what happens to the time grid if either is late. Streaming
// thread only.
#pragma once

#include <functional>
#include <optional>

#include "flowcachesrc.h"

namespace flowcache::gst {

// One call of create(). Settings that may change while it waits are read when they are needed.
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

// Index of the frame in the video, from the start or the last reset.
inline guint64 number_of(const Frame& frame) {
  const fc_chunk_info& chunk = frame.chunk->info();
  return chunk.chunk * chunk.frames + frame.index;
}

enum class Wait { Ready, TimeReached, Flushing };

// Waits for `ready` or a running time. During a pause the clock does not count; the wait continues after it.
Wait wait_until(Turn& turn, const std::function<bool()>& ready, GstClockTime running_time);

// Waits for the first frame of the stream. Meanwhile sends GAP events, so that sound beside the video
// continues. Never returns TimeReached.
Wait wait_for_first_frame(Turn& turn);

// True if slots without a frame are black: before the first frame, if the user asked for it.
bool shows_black(const Turn& turn);

// No frame came in time. The underrun policy decides: a frame is repeated (*repeated is true), or the late
// frame is waited for and slots are left out, or the grid moves.
Wait handle_underrun(Turn& turn, bool* repeated);

// A frame that is later than the reported latency is too late for every sink. This happens after a sink has
// blocked, or after a pause during which running time went on. The video then continues at the present time.
enum class Late { No, GridMoved, Flushing };
Late catch_up(Turn& turn);

// Waits for the time of the current slot; does not wait if it has begun. Returns false if interrupted.
bool wait_for_slot(Turn& turn);

// Starts the time grid, and the stream's own time at 0, with the first frame. Returns false if interrupted.
bool anchor(Turn& turn);

// After a flush: starts the stream over, and the time grid, too.
void start_over(Turn& turn);

// Call this after the grid has moved. Tells the worker when its oldest frame is due, and downstream that the
// duration has changed, if there is one.
void follow_grid(Turn& turn);

// The time in the stream, which is 0 at its first frame.
GstClockTime stream_time(const SourceState& state);

// The calendar time at which the current slot is due; nothing for streams that are not live.
std::optional<GstClockTime> wall_time_of_slot(const Turn& turn);

}  // namespace flowcache::gst
