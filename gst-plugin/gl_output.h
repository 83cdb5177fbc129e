// SPDX-License-Identifier: LGPL-2.1-or-later
// Frames in OpenGL textures, for downstreams that ask for them: the engine writes into the texture's upload
// buffer and GStreamer uploads it. Works on any OpenGL, software too. Built without GStreamer's GL library it
// is never available.
#pragma once

#include <gst/gst.h>

#include <memory>

namespace flowcache::gst {

/// Display and context of one element. No lock is held while other elements are asked.
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

}  // namespace flowcache::gst
