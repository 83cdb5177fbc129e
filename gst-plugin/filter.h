// SPDX-License-Identifier: LGPL-2.1-or-later
// What the files of flowcachefilter share: its state, one call into it, and what they call of each other.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <variant>
#include <vector>

#include "flowcachefilter.h"
#include "flowcachesrc.h"

namespace flowcache::gst {

// The time of a frame that went in.
struct Stamp {
  GstClockTime pts = GST_CLOCK_TIME_NONE, duration = GST_CLOCK_TIME_NONE;
  guint64 offset = GST_BUFFER_OFFSET_NONE;
  bool discont = false;
};
// All frames of chunks before this one that are still in the ring belong to no input.
struct DiscardBefore {
  guint64 chunk;
};
struct EventItem {
  GstEvent* event;  // owned until it is pushed
};
using Item = std::variant<Stamp, DiscardBefore, EventItem>;

// What a filter has besides SourceState. `mutex` is not held while anything else is called.
struct FilterState {
  std::mutex mutex;
  // ---- under `mutex`
  std::deque<Item> items;  // for the source pad's task, in the order of the stream
  bool task_is_busy = false;
  std::condition_variable fewer;  // items

  std::atomic<GstFlowReturn> flow{GST_FLOW_OK};  // of the source pad
  std::atomic<bool> mismatch_told{false};        // that upstream can give nothing that the model takes
  std::atomic<bool> draining{false};             // no further frames come for the stamps in `items`
  // When a live input that is in mid-chunk counts as stalled, in monotonic time; NONE: it is not watched.
  std::atomic<GstClockTime> quiet_at{GST_CLOCK_TIME_NONE};

  // ---- input's thread
  GstVideoInfo info;
  MemoryKind memory = MemoryKind::System;
  GstCaps* caps = nullptr;
  std::vector<GstBuffer*> collected;  // frames of the next chunk
  std::vector<Item> pending;          // their stamps, and the events between them
  uint32_t wanted = 0;                // frames of the next chunk; 0: not yet known
  bool restart = false;               // the next chunk does not follow the one before
  bool left_out = false;              // the next frame does not follow the one before that goes out
  bool let_out = false;               // a part of a chunk was fed because nothing more came
  bool late_told = false, quiet_told = false, untimed_told = false, back_told = false;
  GstClockTime next_pts = 0, last_pts = GST_CLOCK_TIME_NONE;
  GstSegment segment;

  // ---- the source pad's task; it uses `info`, `memory` and `stats_due` of SourceState
  GstCaps* out_caps = nullptr;  // of what goes out, in system memory; null: none has gone out
  GstBufferPool* pool = nullptr;
  GstTagList *input_tags = nullptr, *own_tags = nullptr;  // the input's last ones, and the prompt's
  GstSegment out_segment;
  Frame last;
  double last_strength = -1;
};

inline GstClockTime monotonic_time() {
  return static_cast<GstClockTime>(g_get_monotonic_time()) * GST_USECOND;
}

// A namespace of its own: its names are as short as those of the source's files, which are compiled together with
// these.
namespace filtering {

// One call into the element.
struct Call {
  GstFlowCacheFilter* element;
  SourceState& state;
  FilterState& filter;
  std::shared_ptr<FrameWorker> worker;

  explicit Call(gpointer object)
      : element(FLOWCACHE_FILTER(object)), state(*element->state), filter(*element->filter) {
    std::lock_guard lock(state.mutex);
    worker = state.worker;
  }
  Settings settings() const {
    std::lock_guard lock(state.mutex);
    return state.settings;
  }
  fc_model_info model() const {
    std::lock_guard lock(state.mutex);
    return state.model;
  }
  GstElement* gst() const { return GST_ELEMENT(element); }
};

// ---- flowcachefilter.cpp
// Starts a worker for pictures of the input's size.
void start_worker(Call& call);
void stop_worker(Call& call);
// Ends all waits, so that threads leave the element.
void interrupt(Call& call);

// ---- filter_negotiation.cpp
// What the model can take: its sizes, and its own rate. Owned by the caller.
GstCaps* own_caps(const fc_model_info& model);
// What the model can take and downstream accepts. Owned by the caller.
GstCaps* sink_caps(Call& call, GstCaps* filter);
// Upstream asks what the filter takes of these caps, and ends with an error of its own that does not say why.
void explain_refusal(Call& call, const GstCaps* input);
// The input's caps: the worker is started, or started anew for another size. Takes the event.
bool take_caps(Call& call, GstEvent* event);
// The same caps, when they go out, in the memory that downstream wants: sends them and makes the pool. Streaming thread.
bool use_caps(Call& call, const GstCaps* caps);
// Gives back what use_caps() has made.
void forget_caps(FilterState& filter);

// ---- filter_input.cpp
// Appends to what the source pad's task has to do.
void append(Call& call, std::vector<Item> items);
// Forgets all that has come in and has not gone out.
void forget_all(FilterState& filter);
// Lets all that has come in go out, and waits for that: a part of a chunk is filled up, and what was added to
// it is not shown.
void drain(Call& call);
// The source pad's task calls this when a live input has stopped in mid-chunk: as drain(), but without waiting.
void let_out_what_waits(Call& call);
GstFlowReturn chain(GstPad* pad, GstObject* parent, GstBuffer* buffer) noexcept;

// ---- filter_events.cpp
// Gives the worker the prompts of `script-location`: in the input's own time (stream time), for the segment that holds. The last
// cue before its start holds at once. Input's thread.
void follow_script(Call& call);
gboolean sink_event(GstPad* pad, GstObject* parent, GstEvent* event) noexcept;
gboolean src_event(GstPad* pad, GstObject* parent, GstEvent* event);

// ---- filter_streaming.cpp
// The task of the source pad, one item at a time. `data` is the element.
void loop(gpointer data);

// Tags of the prompt, with those of the input that say something else. Takes them and gives a new list. The source pad's task.
GstTagList* beside_the_inputs(GstFlowCacheFilter* element, GstTagList* tags);

// ---- filter_queries.cpp
gboolean sink_query(GstPad* pad, GstObject* parent, GstQuery* query);
gboolean src_query(GstPad* pad, GstObject* parent, GstQuery* query);

}  // namespace filtering
}  // namespace flowcache::gst
