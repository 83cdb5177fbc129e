// SPDX-License-Identifier: LGPL-2.1-or-later
// The element: a C struct for GObject that points to its C++ state, which says what thread or lock each part
// belongs to.
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

/// How far a stream has got: for the query of its duration.
struct Progress {
  GstClockTime elapsed = 0;            ///< of the stream, up to the frame that comes next
  guint64 content_frame = 0;           ///< index in the video of that frame
  guint64 buffers = 0;                 ///< pushed
  guint64 most_buffers = G_MAXUINT64;  ///< that will be pushed: num-buffers at the start
  guint parts = 1;                     ///< buffers of a frame
  guint parts_left = 0;                ///< of the frame before
};

/// Lock order: GstBaseSrc's live and stream locks, then `mutex`, then the locks inside worker, waiter and
/// statistics. `mutex` is never held while calling GStreamer functions that reach other elements or the bus,
/// or the engine.
struct SourceState {
  std::mutex mutex;
  // ---- under `mutex`
  Settings settings;
  std::shared_ptr<FrameWorker> worker;   ///< from start() to stop()
  std::shared_ptr<LoadedEngine> engine;  ///< kept over READY, so that a restart need not load again
  std::deque<PromptReceipt> receipts;    ///< received, not yet seen at the pad
  LatencyEstimator latency;
  QosGovernor qos;
  SpeedWatch speed;
  bool qos_warned = false;                  ///< said that the cache policy has no deadline
  guint64 end_frame = G_MAXUINT64;          ///< the first frame of the video that is not shown any more
  Progress progress;                        ///< of the stream that runs
  std::vector<PromptChange> early_prompts;  ///< for a time, given before there was a worker
  const EngineLibrary* library = nullptr;   ///< from NULL->READY on
  fc_model_info model{};  ///< valid if model.width > 0; once caps are set its size is theirs
  Script script;          ///< of `script-location`, read with the model
  KeyPrompts keys;        ///< of `key-prompts`, likewise

  // ---- thread-safe by themselves
  Statistics statistics;
  Waiter waiter;
  Waiter prompt_room;  ///< where texts of the pad `prompt` wait for room
  GlOutput gl;
  CudaOutput cuda;
  std::atomic<MemoryPath> memory_path{MemoryPath::System};  ///< of the last frame
  std::atomic<bool> reanchor{false};  ///< a flush asked for a new start of the time grid
  /// Running time stands still here while the pipeline does; NONE while it plays.
  std::atomic<GstClockTime> stopped_at{0};

  // ---- written before the worker starts, by the state-changing thread
  std::unique_ptr<WorkerMessages> messages;

  // ---- streaming thread only (and start(), before it runs)
  GstVideoInfo info;
  MemoryKind memory = MemoryKind::System;  ///< of the negotiated caps
  bool engine_writes_cuda = true;          ///< until it has refused
  bool textures_from_cuda = true;          ///< until it has turned out that they cannot be
  Timeline timeline;
  Frame last;                      ///< the frame pushed last, for `underrun=repeat`
  bool repeating = false;          ///< it was pushed again, as no other was ready
  bool discont = false;            ///< the next buffer is flagged DISCONT
  GstClockTime segment_start = 0;  ///< timestamp of the frame that the stream began with
  bool black = false;              ///< the frame pushed last was a black one
  bool gaps_begun = false;         ///< downstream was told that nothing comes yet
  guint64 first_frame = 0;         ///< that is shown, after a seek; those before it are only made for it
  GstClockTime stats_due = GST_CLOCK_TIME_NONE;
};

// ---- properties.cpp
void install_properties(GObjectClass* object_class);
void set_property(GObject* object, guint id, const GValue* value, GParamSpec* spec);
void get_property(GObject* object, guint id, GValue* value, GParamSpec* spec);

// ---- negotiation.cpp
void install_pad_template(GstElementClass* element_class);
/// What a model of this description gives, at every size; owned by the caller.
GstCaps* caps_of(const fc_model_info& model);
GstCaps* get_caps(GstBaseSrc* base, GstCaps* filter);
GstCaps* fixate(GstBaseSrc* base, GstCaps* caps);
gboolean set_caps(GstBaseSrc* base, GstCaps* caps);
gboolean negotiate(GstBaseSrc* base);
gboolean decide_allocation(GstBaseSrc* base, GstQuery* query);

// ---- streaming.cpp
GstFlowReturn create(GstPushSrc* push, GstBuffer** buffer);

// ---- queries.cpp
/// Only streams that are not live have positions to go to.
gboolean is_seekable(GstBaseSrc* base);
gboolean do_seek(GstBaseSrc* base, GstSegment* segment);
gboolean query(GstBaseSrc* base, GstQuery* query);
gboolean send_event(GstElement* element, GstEvent* event);
gboolean event(GstBaseSrc* base, GstEvent* event);
/// The jitter budget in force: the property, or what was measured.
GstClockTime jitter_budget(SourceState& state);
/// What LATENCY says: the frame itself and the jitter budget. Only once the model is known.
GstClockTime reported_latency(SourceState& state);

// ---- surroundings.cpp
/// GstURIHandler for the element: flowcache:?prompt=orange%20fire&seed=3&is-live=false. A parameter is a
/// property of this element, or num-buffers, as text; one that a URI does not name stays as it is. A URI sets
/// all of its parameters or none, and only in NULL and READY. The URI of an element names the properties that
/// are not at their default, so that the stream's id depends on what it shows.
void install_uri_handler(gpointer interface, gpointer data);

/// Of GstPushSrc: for the overrides that chain up.
GstBaseSrcClass* parent_class();

}  // namespace flowcache::gst
