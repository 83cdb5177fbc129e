// SPDX-License-Identifier: LGPL-2.1-or-later
// Everything the element knows, and which thread or lock each part belongs to.
#pragma once

#include <gst/video/video.h>

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>

#include "cuda_output.h"
#include "flowcachesrc.h"
#include "frame_worker.h"
#include "gl_output.h"
#include "key_prompts.h"
#include "latency.h"
#include "memory_kind.h"
#include "memory_path.h"
#include "qos_governor.h"
#include "script.h"
#include "settings.h"
#include "speed_watch.h"
#include "statistics.h"
#include "timeline.h"
#include "waiter.h"

namespace flowcache::gst {

class WorkerMessages;

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
  bool qos_warned = false;                 ///< said that the cache policy has no deadline
  guint64 end_frame = G_MAXUINT64;         ///< the first frame of the video that is not shown any more
  guint64 next_content_frame = 0;          ///< index in the video of the frame that comes next …
  GstClockTime next_content_pts = 0;       ///< … and when, if no underrun comes between
  const EngineLibrary* library = nullptr;  ///< from NULL->READY on
  fc_model_info model{};                   ///< valid if model.width > 0; once caps are set its size is theirs
  std::vector<Cue> script;                 ///< of `script-location`, read with the model
  KeyPrompts keys;                         ///< of `key-prompts`, likewise

  // ---- thread-safe by themselves
  Statistics statistics;
  Waiter waiter;
  GlOutput gl;
  CudaOutput cuda;
  std::atomic<MemoryPath> memory_path{MemoryPath::System};  ///< of the last frame
  std::atomic<bool> reanchor{false};  ///< a flush asked for a new start of the time grid

  // ---- written before the worker starts, by the state-changing thread
  std::unique_ptr<WorkerMessages> messages;

  // ---- streaming thread only (and start(), before it runs)
  GstVideoInfo info;
  MemoryKind memory = MemoryKind::System;  ///< of the negotiated caps
  bool engine_writes_cuda = true;          ///< until it has refused
  bool textures_from_cuda = true;          ///< until it has turned out that they cannot be
  Timeline timeline;
  Frame last;              ///< the frame pushed last, for `underrun=repeat`
  bool repeating = false;  ///< and it was a repetition
  bool discont = false;    ///< for the next buffer
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
gboolean query(GstBaseSrc* base, GstQuery* query);
gboolean send_event(GstElement* element, GstEvent* event);
gboolean event(GstBaseSrc* base, GstEvent* event);
/// The jitter budget in force: the property, or what was measured.
GstClockTime jitter_budget(SourceState& state);

/// Of GstPushSrc: for the overrides that chain up.
GstBaseSrcClass* parent_class();

}  // namespace flowcache::gst
