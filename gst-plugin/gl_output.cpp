// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gl_output.h"

#include "log.h"

#ifdef FLOWCACHE_GL
#include <gst/gl/gl.h>

#include <mutex>

#include "frame_pool.h"

namespace flowcache::gst {

/// GStreamer's helpers write into these slots themselves, and call set_context() again while they do.
struct GlOutput::Handles {
  std::mutex mutex;
  GstGLDisplay* display = nullptr;
  GstGLContext* context = nullptr;
  GstGLContext* application = nullptr;
};

GlOutput::GlOutput() : handles_(std::make_unique<Handles>()) {}
GlOutput::~GlOutput() {
  release();
}

bool GlOutput::prepare(GstElement* element) {
  Handles& h = *handles_;
  if (!gst_gl_ensure_element_data(element, &h.display, &h.application)) return false;
  if (h.context != nullptr) return true;
  GstGLContext* found = nullptr;
  gst_gl_query_local_gl_context(element, GST_PAD_SRC, &found);
  if (found == nullptr) {
    GError* error = nullptr;
    GST_OBJECT_LOCK(h.display);
    found = gst_gl_display_get_gl_context_for_thread(h.display, nullptr);
    if (found == nullptr && gst_gl_display_create_context(h.display, h.application, &found, &error)) {
      gst_gl_display_add_context(h.display, found);
    }
    GST_OBJECT_UNLOCK(h.display);
    if (error != nullptr) GST_INFO_OBJECT(element, "no OpenGL: %s", error->message);
    g_clear_error(&error);
  }
  std::lock_guard lock(h.mutex);
  h.context = found;
  return found != nullptr;
}

GstBufferPool* GlOutput::make_pool(GstCaps* caps, guint* size, guint least, guint most) {
  std::lock_guard lock(handles_->mutex);
  if (handles_->context == nullptr) return nullptr;
  return configured_pool(gst_gl_buffer_pool_new(handles_->context), caps, size, least, most, true);
}

void GlOutput::release_context() {
  std::lock_guard lock(handles_->mutex);
  gst_clear_object(&handles_->context);
}

void GlOutput::release() {
  std::lock_guard lock(handles_->mutex);
  gst_clear_object(&handles_->context);
  gst_clear_object(&handles_->application);
  gst_clear_object(&handles_->display);
}

void GlOutput::set_context(GstElement* element, GstContext* context) {
  gst_gl_handle_set_context(element, context, &handles_->display, &handles_->application);
}

bool GlOutput::answer(GstElement* element, GstQuery* query) {
  GstGLDisplay* display = nullptr;
  GstGLContext *context = nullptr, *application = nullptr;
  {
    std::lock_guard lock(handles_->mutex);
    if (handles_->display != nullptr) display = GST_GL_DISPLAY(gst_object_ref(handles_->display));
    if (handles_->context != nullptr) context = GST_GL_CONTEXT(gst_object_ref(handles_->context));
    if (handles_->application != nullptr) application = GST_GL_CONTEXT(gst_object_ref(handles_->application));
  }
  const bool answered = gst_gl_handle_context_query(element, query, display, context, application);
  gst_clear_object(&display);
  gst_clear_object(&context);
  gst_clear_object(&application);
  return answered;
}

}  // namespace flowcache::gst

#else

namespace flowcache::gst {

struct GlOutput::Handles {};
GlOutput::GlOutput() = default;
GlOutput::~GlOutput() = default;
bool GlOutput::prepare(GstElement*) {
  return false;
}
GstBufferPool* GlOutput::make_pool(GstCaps*, guint*, guint, guint) {
  return nullptr;
}
void GlOutput::release_context() {}
void GlOutput::release() {}
void GlOutput::set_context(GstElement*, GstContext*) {}
bool GlOutput::answer(GstElement*, GstQuery*) {
  return false;
}
}  // namespace flowcache::gst

#endif
