// SPDX-License-Identifier: LGPL-2.1-or-later
// How frames get into buffers, wherever a buffer's memory is.
#pragma once

#include <gst/gst.h>
#include <gst/video/video.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "flowcache.h"
#include "worker.h"

struct _GstFlowCacheSrc;
typedef struct _GstFlowCacheSrc GstFlowCacheSrc;

namespace flowcache::gst {

struct SourceState;

/// Which memory caps speak of.
enum class MemoryKind { System, Cuda, Gl };

/// Of one structure of caps; Cuda and Gl if the feature is named, System for everything else.
MemoryKind memory_kind_of(const GstCaps* caps, guint index = 0);
/// Whether caps ask for this memory by name, and not just accept anything.
bool names_memory(const GstCaps* caps, MemoryKind kind);
/// Caps of the same picture in that memory; owned by the caller.
GstCaps* caps_in_memory(const GstStructure* structure, MemoryKind kind);
/// The structures of caps in that memory; owned by the caller.
GstCaps* only_memory(const GstCaps* caps, MemoryKind kind);

/// How frames get to where downstream wants them; `memory-path` in `stats`.
enum class MemoryPath {
  System,      ///< into system memory
  GlUpload,    ///< into a texture's upload buffer; GStreamer uploads it
  CudaGl,      ///< by an engine on the device, straight into a texture's upload buffer
  CudaUpload,  ///< by an engine on the CPU: into pinned memory, one copy to the device
  Cuda,        ///< by an engine on the device, straight into CUDA memory
  CudaCopy     ///< as above, and one copy on the device into memory of somebody else's context
};

constexpr const char* name_of(MemoryPath path) {
  switch (path) {
    case MemoryPath::GlUpload:
      return "gl-upload";
    case MemoryPath::CudaGl:
      return "cuda-gl";
    case MemoryPath::CudaUpload:
      return "cuda-upload";
    case MemoryPath::Cuda:
      return "cuda";
    case MemoryPath::CudaCopy:
      return "cuda-copy";
    default:
      return "system";
  }
}

/// The planes of a mapped frame; valid for as long as it is mapped.
fc_planes planes_of(GstVideoFrame* video, fc_memory memory);

/// Takes a pool and returns it configured for these caps; null if it does not accept them. `size` becomes
/// that of a buffer, with the pool's strides and padding. video_meta: buffers may say where their planes are.
GstBufferPool* configured_pool(GstBufferPool* pool, GstCaps* caps, guint* size, guint least, guint most,
                               bool video_meta);

/// Keeps a display or a context that comes by GstElement::set_context(): one GstObject or none. Applications
/// set contexts from any thread. GStreamer's helpers ask the pipeline for one: they write to a place that
/// they are given, and expect that set_context() fills that place while they ask, on the same thread. Other
/// elements are asked then, so that no lock may be held: each call of ask() brings a place of its own.
template <typename Object>
class ContextSlot {
 public:
  ContextSlot() = default;
  ~ContextSlot() { gst_clear_object(&object_); }
  ContextSlot(const ContextSlot&) = delete;
  ContextSlot& operator=(const ContextSlot&) = delete;

  /// A reference, owned by the caller; null if there is none. Any thread.
  Object* ref() const {
    std::lock_guard lock(mutex_);
    return object_ == nullptr ? nullptr : static_cast<Object*>(gst_object_ref(object_));
  }

  bool has() const {
    std::lock_guard lock(mutex_);
    return object_ != nullptr;
  }

  /// Takes the reference. null empties the slot. Any thread, also the one that asks.
  void put(Object* object) {
    std::lock_guard lock(mutex_);
    gst_object_replace(reinterpret_cast<GstObject**>(&object_), reinterpret_cast<GstObject*>(object));
    if (place_ != nullptr && asker_ == std::this_thread::get_id()) {
      gst_object_replace(reinterpret_cast<GstObject**>(place_), reinterpret_cast<GstObject*>(object));
    }
    gst_clear_object(&object);
  }

  /// Calls fill(Object** place), which may call put() by a detour, and keeps what it has left there. Returns
  /// what it returns. One thread at a time.
  template <typename Fill>
  bool ask(Fill fill) {
    Object* place = ref();
    set_place(&place);
    const bool found = fill(&place);
    set_place(nullptr);
    if (place != nullptr) put(place);
    return found;
  }

 private:
  void set_place(Object** place) {
    std::lock_guard lock(mutex_);
    place_ = place;
    asker_ = std::this_thread::get_id();
  }

  mutable std::mutex mutex_;
  Object* object_ = nullptr;
  Object** place_ = nullptr;  ///< of a call of ask()
  std::thread::id asker_;
};

/// Frames in OpenGL textures, for downstreams that ask for them: the engine writes into the texture's upload
/// buffer and GStreamer uploads it. Works on any OpenGL, software too. Built without GStreamer's GL library
/// it is never available. Holds display and context of one element. No lock is held while other elements are
/// asked.
class GlOutput {
 public:
  GlOutput();
  ~GlOutput();
  GlOutput(const GlOutput&) = delete;
  GlOutput& operator=(const GlOutput&) = delete;

  /// Finds a display and a context: the one of downstream, or an own one beside it. False, and a debug line,
  /// if this machine has none. Streaming thread.
  bool prepare(GstElement* element);
  /// A pool of textures of these caps; null unless prepared. Owned by the caller. `size` becomes a buffer's.
  /// Streaming thread.
  GstBufferPool* make_pool(GstCaps* caps, guint* size, guint least, guint most);
  /// Forgets the context (streams end), or display and context (the element goes to NULL).
  void release_context();
  void release();

  /// From GstElement::set_context(). Any thread.
  void set_context(GstElement* element, GstContext* context);
  /// Answers a CONTEXT query about GL. Any thread.
  bool answer(GstElement* element, GstQuery* query);

 private:
  struct Handles;
  std::unique_ptr<Handles> handles_;
};

/// Writes a frame into these planes; an error's sentence goes to the string.
using PlaneWriter = std::function<fc_status(const fc_planes& planes, std::string* error)>;

/// Frames in CUDA memory, for downstreams that ask for it. Built without GStreamer's CUDA library, or without
/// a driver at run time, it is never available.
///
/// Frames live in the device's primary context, which LibTorch uses too, so that the engine's kernels can
/// write into GStreamer's memory. The context is published when the element goes to READY: elements that look
/// for one later share it. If downstream has brought its own, the engine writes into memory of the primary
/// context and one copy on the device takes it across, which is counted and warned about.
class CudaOutput {
 public:
  CudaOutput();
  ~CudaOutput();
  CudaOutput(const CudaOutput&) = delete;
  CudaOutput& operator=(const CudaOutput&) = delete;

  /// Whether an NVIDIA driver answers; asked once in a process. Any thread.
  static bool driver_answers();

  /// NULL->READY: wraps the primary context of the device that the engine will use and publishes it. device:
  /// as the property; "cpu" publishes nothing. Without a driver it does nothing.
  void open(GstElement* element, const std::string& device);
  /// Finds a context: the one published, downstream's, or a new one. False, and a debug line, if there is
  /// none. Streaming thread.
  bool prepare(GstElement* element);
  /// Downstream's pool if it gives CUDA memory, else an own one; configured for these caps. Takes `offered`
  /// (may be null). Owned by the caller; null if it cannot be. `size` becomes a buffer's. Streaming thread.
  GstBufferPool* make_pool(GstBufferPool* offered, GstCaps* caps, guint* size, guint least, guint most);
  /// Writes a frame into a buffer of that pool. on_device: the engine writes to CUDA memory. `path` becomes
  /// how it was done. Streaming thread.
  fc_status write(GstElement* element, GstBuffer* buffer, const GstVideoInfo& info, bool on_device,
                  const PlaneWriter& writer, MemoryPath* path, std::string* error);

  /// The engine's context, a GstCudaContext; null without one. Owned by the caller. Any thread.
  GstObject* primary_context() const;
  /// Bytes in use, by all processes, and in all, on the engine's device. False without one. Any thread.
  bool device_memory(guint64* used, guint64* total) const;
  /// How often a frame was copied into another context. Any thread.
  guint64 context_copies() const;
  /// The streams end: counters and what was staged are forgotten. / The element goes to NULL.
  void reset();
  void release();

  /// From GstElement::set_context(). Any thread.
  void set_context(GstElement* element, GstContext* context);
  /// Answers a CONTEXT query about CUDA. Any thread.
  bool answer(GstElement* element, GstQuery* query);

 private:
  struct Handles;
  std::unique_ptr<Handles> handles_;
};

// ---- frames of a model on the device into OpenGL textures, without the host: a texture's upload buffer is
// registered with CUDA once, and the engine writes into it while it is mapped

enum class GlWrite {
  Done,
  Failed,      ///< the engine's status and sentence say why
  Unavailable  ///< OpenGL is not on an NVIDIA GPU, or the buffer cannot be registered
};

/// Writes a frame into a buffer of GlOutput's pool (RGBA). primary: the engine's context, a GstCudaContext;
/// null is Unavailable. Hops to the thread of OpenGL and waits for it. Streaming thread.
GlWrite write_cuda_to_gl(GstObject* primary, GstBuffer* buffer, const GstVideoInfo& info,
                         const PlaneWriter& writer, fc_status* status, std::string* error);

// ---- any of them

/// Writes a frame into a buffer of the negotiated pool, on the shortest way that engine and memory allow, and
/// notes the way in `memory_path`. On failure the engine's status and a sentence. Streaming thread.
fc_status write_frame(GstFlowCacheSrc* source, const FrameWorker& worker, const Frame& frame,
                      GstBuffer* buffer, std::string* error);

/// Makes such a buffer black. False if it cannot be mapped. Streaming thread.
bool write_black(const SourceState& state, GstBuffer* buffer);

}  // namespace flowcache::gst
