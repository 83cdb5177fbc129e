// SPDX-License-Identifier: LGPL-2.1-or-later
// Positions in streams that are not live.
#include "slots.h"

namespace flowcache::gst {
namespace {

/// The video is a chain: what is not ahead is made again from the start, what is ahead is made and not shown.
void go_to_frame(GstFlowCacheSrc* source, guint64 frame) {
  Turn turn(source);
  SourceState& state = turn.state;
  guint64 next = 0;
  {
    std::lock_guard lock(state.mutex);
    next = state.progress.content_frame;
    state.progress.content_frame = frame;
    state.progress.parts_left = 0;
  }
  const bool ahead = frame >= next && state.timeline.next_slot() == next;
  state.timeline.go_to(frame);
  state.first_frame = frame;
  state.last = {};
  if (ahead) return;
  turn.worker->reset(std::nullopt);
  turn.worker->set_due(state.timeline.stamp_of(0));
}

}  // namespace

gboolean is_seekable(GstBaseSrc* base) {
  return !gst_base_src_is_live(base);
}

/// With the stream's lock held, so that no create() runs. Also called for the segment that a stream begins
/// with.
gboolean do_seek(GstBaseSrc* base, GstSegment* segment) {
  GstFlowCacheSrc* source = FLOWCACHE_SRC(base);
  if (segment->rate <= 0) return FALSE;
  segment->time = segment->start;
  if (gst_base_src_is_live(base)) return segment->start == 0;
  go_to_frame(source, source->state->timeline.slot_at(segment->start));
  return TRUE;
}

}  // namespace flowcache::gst
