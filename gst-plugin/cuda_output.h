// SPDX-License-Identifier: LGPL-2.1-or-later
// Frames in CUDA memory, for downstreams that ask for it. Built without GStreamer's CUDA library, or without
// a driver at run time, it is never available.
//
// Frames live in the device's primary context, which LibTorch uses too, so that the engine's kernels can
// write into GStreamer's memory. The context is published when the element goes to READY: elements that look
// for one later share it. If downstream has brought its own, the engine writes into memory of the primary
// context and one copy on the device takes it across, which is counted and warned about.
#pragma once

#include <gst/video/video.h>

#include <functional>
#include <memory>
#include <string>

#include "flowcache.h"
#include "memory_path.h"

namespace flowcache::gst {

/// Writes a frame into these planes; an error's sentence goes to the string.
using PlaneWriter = std::function<fc_status(const fc_planes& planes, std::string* error)>;

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

}  // namespace flowcache::gst
