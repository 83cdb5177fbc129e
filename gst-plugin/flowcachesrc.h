// SPDX-License-Identifier: LGPL-2.1-or-later
// The element: a C struct for GObject that points to its C++ state. The state says for each member which
// thread or lock it belongs to.
#pragma once

#include <gst/base/gstpushsrc.h>
#include <gst/gst.h>
#include <gst/video/video.h>

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "measures.h"
#include "output.h"
#include "properties.h"
#include "script.h"
#include "timing.h"
#include "worker.h"

G_BEGIN_DECLS

#define FLOWCACHE_TYPE_SRC (gst_flow_cache_src_get_type())
#define FLOWCACHE_IS_SRC(object) (G_TYPE_CHECK_INSTANCE_TYPE((object), FLOWCACHE_TYPE_SRC))
#define FLOWCACHE_SRC(object) (G_TYPE_CHECK_INSTANCE_CAST((object), FLOWCACHE_TYPE_SRC, GstFlowCacheSrc))

typedef struct _GstFlowCacheSrc GstFlowCacheSrc;
typedef struct _GstFlowCacheSrcClass GstFlowCacheSrcClass;

GType gst_flow_cache_src_get_type(void);

G_END_DECLS

struct _GstFlowCacheSrc {
  GstPushSrc parent;
  flowcache::gst::SourceState* state;  // from init to finalize
};

struct _GstFlowCacheSrcClass {
  GstPushSrcClass parent_class;
};

namespace flowcache::gst {

class WorkerMessages;

// The position of a stream, for queries of its duration.
struct Progress {
  GstClockTime elapsed = 0;            // stream time of the next frame
  guint64 content_frame = 0;           // index of the next frame in the video
  guint64 buffers = 0;                 // buffers pushed so far
  guint64 most_buffers = G_MAXUINT64;  // buffers that will be pushed: num-buffers at the start
  guint parts = 1;                     // buffers for each frame
  guint parts_left = 0;                // buffers of the last frame that are still to come
};

// Lock order: GstBaseSrc's live and stream locks, then `mutex`, then the locks inside worker, waiter and
// statistics. `mutex` is never held while calling GStreamer functions that reach other elements or the bus,
// or the engine.
// Also the state of a flowcachefilter, which uses what is not marked as the source's own.
struct SourceState {
  std::mutex mutex;
  // ---- under `mutex`
  Settings settings;
  std::shared_ptr<FrameWorker> worker;    // from start() to stop()
  std::shared_ptr<LoadedEngine> engine;   // kept in READY, so that a restart need not load it again
  std::deque<PromptReceipt> receipts;     // prompts that were received and are not shown yet
  std::deque<LoraReceipt> lora_receipts;  // lists that the engine has got and that are not shown yet
  LatencyEstimator latency;
  double collecting_seconds = 0;  // of a filter: how long it waits for the frames of a chunk
  QosGovernor qos;
  SpeedWatch speed;
  bool qos_warned = false;                  // the warning that the cache policy has no deadline was posted
  guint64 end_frame = G_MAXUINT64;          // first frame of the video that is not shown
  Progress progress;                        // position of the running stream
  std::vector<PromptChange> early_prompts;  // prompts for a later time, given before there was a worker
  const EngineLibrary* library = nullptr;   // from NULL->READY on
  fc_model_info model{};  // valid if model.width > 0; has the negotiated size once caps are set
  Script script;          // of `script-location`; read together with the model's description
  KeyPrompts keys;        // of `key-prompts`; read at the same time

  // ---- thread-safe by themselves
  Statistics statistics;
  Waiter waiter;
  Waiter prompt_room;  // threads of the pad `prompt` wait here while too many prompts wait
  GlOutput gl;
  CudaOutput cuda;
  std::atomic<MemoryPath> memory_path{MemoryPath::System};  // how the last frame was written
  std::atomic<bool> reanchor{false};                        // after a flush: the time grid must start again
  std::atomic<bool> reset_wanted{false};   // of a filter: before the next chunk that comes in
  std::atomic<bool> input_is_live{false};  // of a filter: what upstream's latency query says
  // The running time at which the pipeline stopped playing; NONE while it plays.
  std::atomic<GstClockTime> stopped_at{0};

  // ---- written before the worker starts, by the state-changing thread
  std::unique_ptr<WorkerMessages> messages;

  // ---- streaming thread only (and start(), before it runs)
  GstVideoInfo info;
  MemoryKind memory = MemoryKind::System;  // of the negotiated caps
  bool engine_writes_cuda = true;          // false after the engine has refused to write CUDA memory
  bool textures_from_cuda = true;          // false after CUDA could not write textures
  Timeline timeline;
  Frame last;                      // the last frame pushed, for `underrun=repeat`
  bool repeating = false;          // the last frame was pushed again, because no other was ready
  bool discont = false;            // the next buffer gets the flag DISCONT
  GstClockTime segment_start = 0;  // timestamp of the stream's first frame
  bool black = false;              // the last frame pushed was a black one
  bool gaps_begun = false;         // GAP events have been sent
  guint64 first_frame = 0;         // first frame shown after a seek; those before it are made but not shown
  GstClockTime stats_due = GST_CLOCK_TIME_NONE;
};

// ---- flowcachesrc.cpp
// The state of a flowcachesrc or a flowcachefilter.
SourceState& state_of(gpointer element);
// True if frames are played while they are made: the source's is-live, the filter's input.
bool is_live(GstElement* element);
// Opens the engine's library and reads the model's description, for the properties as they are now. The weights are loaded
// later, by the worker. Returns false after it has posted an error.
bool prepare(GstElement* element);
// Posts a warning for each remark about a script's cues.
void warn_of_script(GstElement* element, const std::vector<std::string>& remarks);
// A stream of the described model begins: forgets what was measured before. Under `mutex`.
void reset_measures(SourceState& state);
// Forgets library, description and the loaded model, which may unload it.
void forget(SourceState& state);
// Publishes the engine's CUDA context. Elements that look for one after READY then share it.
void publish_context(GstElement* element);

// ---- properties.cpp
// Those of the table that this element has.
void install_properties(GObjectClass* object_class, Elements element);
void set_property(GObject* object, guint id, const GValue* value, GParamSpec* spec);
void get_property(GObject* object, guint id, GValue* value, GParamSpec* spec);

// ---- negotiation.cpp
// Pads of both elements have the same caps.
void install_pad_template(GstElementClass* element_class, const char* name, GstPadDirection direction);
// Caps of all sizes and rates that a model with this description can give. Owned by the caller.
GstCaps* caps_of(const fc_model_info& model);
// These caps, which are in system memory, in all kinds of memory that this machine has. Takes them; owned by the caller.
GstCaps* in_all_memories(GstCaps* system);
// What of our caps downstream takes, best first: CUDA memory, else textures, if it asks for them by name and this machine has
// them; else system memory, also if downstream accepts anything. Takes `ours`; owned by the caller. Streaming thread.
GstCaps* choose_memory(GstElement* element, GstPad* pad, GstCaps* ours);
// Why two sides cannot agree: the fields in conflict, for the pair of structures that is closest. `words` are what is said
// before a value of ours and of theirs.
struct SideWords {
  const char *ours = "the model gives", *theirs = "downstream accepts";
};
std::string explain_mismatch(const GstCaps* ours, const GstCaps* theirs, const SideWords& words = {});
GstCaps* get_caps(GstBaseSrc* base, GstCaps* filter);
GstCaps* fixate(GstBaseSrc* base, GstCaps* caps);
gboolean set_caps(GstBaseSrc* base, GstCaps* caps);
gboolean negotiate(GstBaseSrc* base);
gboolean decide_allocation(GstBaseSrc* base, GstQuery* query);

// ---- streaming.cpp
GstFlowReturn create(GstPushSrc* push, GstBuffer** buffer);

// ---- queries.cpp
// Only streams that are not live can be seeked in.
gboolean is_seekable(GstBaseSrc* base);
gboolean do_seek(GstBaseSrc* base, GstSegment* segment);
gboolean query(GstBaseSrc* base, GstQuery* query);
gboolean send_event(GstElement* element, GstEvent* event);
gboolean event(GstBaseSrc* base, GstEvent* event);
// The current jitter budget: the property, or the measured value.
GstClockTime jitter_budget(SourceState& state);
// The latency that LATENCY queries get: one frame and the jitter budget. Only if the model is known.
GstClockTime reported_latency(SourceState& state);

// ---- surroundings.cpp
// Installs the GstURIHandler: flowcache:?prompt=orange%20fire&seed=3&is-live=false. A parameter is a
// property of the element, or num-buffers, as text. Properties that a URI does not name stay as they are. A
// URI sets all of its parameters or none, and only in NULL and READY. The element's own URI names the
// properties that are not at their default, so that the id of a stream depends on what it shows.
void install_uri_handler(gpointer interface, gpointer data);

// The class of GstPushSrc, for overrides that call their parent's version.
GstBaseSrcClass* parent_class();

}  // namespace flowcache::gst
