// SPDX-License-Identifier: LGPL-2.1-or-later
// Writes frames into buffers, in whatever memory a buffer is.
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

namespace flowcache::gst {

struct SourceState;

// The kind of memory that caps name.
enum class MemoryKind { System, Cuda, Gl };

// The kind of one structure of caps. Cuda and Gl if the feature is named, System for everything else.
MemoryKind memory_kind_of(const GstCaps* caps, guint index = 0);
// True if caps name this memory. Caps that accept any memory do not name it.
bool names_memory(const GstCaps* caps, MemoryKind kind);
// Caps of the same picture in that memory; owned by the caller.
GstCaps* caps_in_memory(const GstStructure* structure, MemoryKind kind);
// The same pictures in system memory. Owned by the caller.
GstCaps* in_system_memory(const GstCaps* caps);
// The structures of caps that are in this memory. Owned by the caller.
GstCaps* only_memory(const GstCaps* caps, MemoryKind kind);

// How frames get into downstream's buffers; the field `memory-path` of `stats`.
enum class MemoryPath {
  System,      // into system memory
  GlUpload,    // into a texture's upload buffer; GStreamer uploads it
  CudaGl,      // by an engine on the device, straight into a texture's upload buffer
  CudaUpload,  // by an engine on the CPU: into pinned memory, one copy to the device
  Cuda,        // by an engine on the device, straight into CUDA memory
  CudaCopy     // as Cuda, then one copy on the device into memory of another CUDA context
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

// The planes of a mapped frame; valid while it is mapped.
fc_planes planes_of(GstVideoFrame* video, fc_memory memory);

// Takes a pool and returns it configured for these caps, or null if it does not accept them. `size` is set
// to the size of a buffer with the pool's strides and padding. video_meta: buffers may have a meta that says
// where their planes are.
GstBufferPool* configured_pool(GstBufferPool* pool, GstCaps* caps, guint* size, guint least, guint most,
                               bool video_meta);

// A pool for these caps in this memory, configured and owned by the caller; null if that fails. Takes `offered`, which may be
// null and is used where it can be. `size` is set as by configured_pool(). Streaming thread.
GstBufferPool* pool_in(SourceState& state, MemoryKind memory, GstBufferPool* offered, GstCaps* caps,
                       guint* size, guint least, guint most, bool video_meta);

// Keeps a display or a context that comes by GstElement::set_context(): one GstObject or none. Applications
// may set contexts from any thread. GStreamer's helper functions ask the pipeline for one: they get a place
// to write to, and expect that set_context() fills that place while they ask, on the same thread. They ask
// other elements, so no lock may be held; therefore each call of ask() has a place of its own.
template <typename Object>
class ContextSlot {
 public:
  ContextSlot() = default;
  ~ContextSlot() { gst_clear_object(&object_); }
  ContextSlot(const ContextSlot&) = delete;
  ContextSlot& operator=(const ContextSlot&) = delete;

  // A reference, owned by the caller; null if the slot is empty. Any thread.
  Object* ref() const {
    std::lock_guard lock(mutex_);
    return object_ == nullptr ? nullptr : static_cast<Object*>(gst_object_ref(object_));
  }

  bool has() const {
    std::lock_guard lock(mutex_);
    return object_ != nullptr;
  }

  // Takes the reference; null empties the slot. Any thread, also the one that is in ask().
  void put(Object* object) {
    std::lock_guard lock(mutex_);
    gst_object_replace(reinterpret_cast<GstObject**>(&object_), reinterpret_cast<GstObject*>(object));
    if (place_ != nullptr && asker_ == std::this_thread::get_id()) {
      gst_object_replace(reinterpret_cast<GstObject**>(place_), reinterpret_cast<GstObject*>(object));
    }
    gst_clear_object(&object);
  }

  // Calls fill(Object** place), which may call put() indirectly, and keeps the object that it has left in
  // the place. Returns what `fill` returns. One thread at a time.
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
  Object** place_ = nullptr;  // the place of a running call of ask()
  std::thread::id asker_;
};

// Frames in OpenGL textures, for downstream elements that ask for them. The engine writes into the texture's
// upload buffer, and GStreamer uploads it. Works with any OpenGL, also in software. If built without
// GStreamer's GL library, it is never available. It holds the display and the context of one element. No
// lock is held while other elements are asked.
class GlOutput {
 public:
  GlOutput();
  ~GlOutput();
  GlOutput(const GlOutput&) = delete;
  GlOutput& operator=(const GlOutput&) = delete;

  // Finds a display and a context: downstream's, or a new one that shares with it. Returns false, and logs
  // why, if this machine has none. Streaming thread.
  bool prepare(GstElement* element);
  // A pool of textures of these caps, owned by the caller; null unless prepared. `size` is set to the size
  // of a buffer. Streaming thread.
  GstBufferPool* make_pool(GstCaps* caps, guint* size, guint least, guint most);
  // release_context() is called when streams end, release() when the element goes to NULL.
  void release_context();
  void release();

  // Called by GstElement::set_context(). Any thread.
  void set_context(GstElement* element, GstContext* context);
  // Answers a CONTEXT query about GL. Any thread.
  bool answer(GstElement* element, GstQuery* query);

 private:
  struct Handles;
  std::unique_ptr<Handles> handles_;
};

// Writes a frame into these planes. On failure the message is in the string.
using PlaneWriter = std::function<fc_status(const fc_planes& planes, std::string* error)>;

// Frames in CUDA memory, for downstream elements that ask for it. If built without GStreamer's CUDA library,
// or without a driver at run time, it is never available.
//
// Frames are in the device's primary context, which LibTorch also uses, so the engine's kernels can write
// into GStreamer's memory. The context is published when the element goes to READY, and elements that look
// for one later share it. If downstream has another context, the engine writes into memory of the primary
// context, and one copy on the device brings the frame into the other one. These copies are counted, and a
// warning is posted.
class CudaOutput {
 public:
  CudaOutput();
  ~CudaOutput();
  CudaOutput(const CudaOutput&) = delete;
  CudaOutput& operator=(const CudaOutput&) = delete;

  // True if an NVIDIA driver answers. It is asked once in a process. Any thread.
  static bool driver_answers();

  // For NULL->READY: wraps the primary context of the device that the engine will use, and publishes it.
  // device: the property's value; "cpu" publishes nothing. Does nothing without a driver.
  void open(GstElement* element, const std::string& device);
  // Finds a context: the published one, downstream's, or a new one. Returns false, and logs why, if there is
  // none. Streaming thread.
  bool prepare(GstElement* element);
  // Downstream's pool if it gives CUDA memory, else a new one; configured for these caps and owned by the
  // caller; null if that fails. Takes `offered`, which may be null. `size` is set to the size of a buffer.
  // Streaming thread.
  GstBufferPool* make_pool(GstBufferPool* offered, GstCaps* caps, guint* size, guint least, guint most);
  // Writes a frame into a buffer of that pool. on_device: the engine can write CUDA memory. `path` is set to
  // the way that was used. Streaming thread.
  fc_status write(GstElement* element, GstBuffer* buffer, const GstVideoInfo& info, bool on_device,
                  const PlaneWriter& writer, MemoryPath* path, std::string* error);

  // True if the buffer is CUDA memory in the engine's context. Any thread.
  bool is_the_engines(GstBuffer* buffer) const;
  // The engine's context, a GstCudaContext; null if there is none. Owned by the caller. Any thread.
  GstObject* primary_context() const;
  // Bytes on the engine's device: in use by all processes, and in total. Returns false without a device. Any
  // thread.
  bool device_memory(guint64* used, guint64* total) const;
  // How many frames were copied into another context. Any thread.
  guint64 context_copies() const;
  // reset(): the streams have ended; forgets counters and staging memory. release(): the element goes to
  // NULL.
  void reset();
  void release();

  // Called by GstElement::set_context(). Any thread.
  void set_context(GstElement* element, GstContext* context);
  // Answers a CONTEXT query about CUDA. Any thread.
  bool answer(GstElement* element, GstQuery* query);

 private:
  struct Handles;
  std::unique_ptr<Handles> handles_;
};

// ---- frames of a model on the device into OpenGL textures, without host memory. A texture's upload buffer
// is registered with CUDA once, and the engine writes into it while it is mapped.

enum class GlWrite {
  Done,
  Failed,      // the engine's status and message say why
  Unavailable  // OpenGL is not on an NVIDIA GPU, or the buffer cannot be registered
};

// Writes a frame into a buffer of GlOutput's pool (RGBA). primary: the engine's context, a GstCudaContext;
// if it is null, the result is Unavailable. Runs on the thread of OpenGL and waits for it. Streaming thread.
GlWrite write_cuda_to_gl(GstObject* primary, GstBuffer* buffer, const GstVideoInfo& info,
                         const PlaneWriter& writer, fc_status* status, std::string* error);

// ---- for all kinds of memory

// Writes a frame into a buffer of the negotiated pool, in the most direct way that engine and memory allow,
// and notes the way in `memory_path`. On failure returns the engine's status, and `error` has a message.
// Streaming thread.
fc_status write_frame(GstElement* element, SourceState& state, const FrameWorker& worker, const Frame& frame,
                      GstBuffer* buffer, std::string* error);

// True once a model is loaded on an NVIDIA GPU. Any thread.
bool engine_is_on_cuda(const FrameWorker& worker);

// Makes a buffer of the pool black. Returns false if it cannot be mapped. Streaming thread.
bool write_black(const SourceState& state, GstBuffer* buffer);

}  // namespace flowcache::gst
