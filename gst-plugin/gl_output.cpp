// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gl_output.h"

#include "log.h"

#ifdef FLOWCACHE_GL
#include <gst/gl/gl.h>

#include <mutex>

#include "context_slot.h"
#include "frame_pool.h"

namespace flowcache::gst {

struct GlOutput::Handles {
  ContextSlot<GstGLDisplay> display;
  ContextSlot<GstGLContext> application;
  std::mutex mutex;
  GstGLContext* context = nullptr;  ///< under `mutex`

  /// Downstream's context, or one on the display; owned by the caller, null if there is none.
  GstGLContext* find_context(GstElement* element) const;
};

GlOutput::GlOutput() : handles_(std::make_unique<Handles>()) {}
GlOutput::~GlOutput() {
  release();
}

GstGLContext* GlOutput::Handles::find_context(GstElement* element) const {
  GstGLContext* found = nullptr;
  gst_gl_query_local_gl_context(element, GST_PAD_SRC, &found);
  GstGLDisplay* shown_on = display.ref();
  if (found == nullptr && shown_on != nullptr) {
    GstGLContext* shared = application.ref();
    GError* error = nullptr;
    GST_OBJECT_LOCK(shown_on);
    found = gst_gl_display_get_gl_context_for_thread(shown_on, nullptr);
    if (found == nullptr && gst_gl_display_create_context(shown_on, shared, &found, &error)) {
      gst_gl_display_add_context(shown_on, found);
    }
    GST_OBJECT_UNLOCK(shown_on);
    if (error != nullptr) GST_INFO_OBJECT(element, "no OpenGL: %s", error->message);
    g_clear_error(&error);
    gst_clear_object(&shared);
  }
  gst_clear_object(&shown_on);
  return found;
}

bool GlOutput::prepare(GstElement* element) {
  Handles& h = *handles_;
  const bool ready = h.display.ask([&](GstGLDisplay** display) {
    return h.application.ask([&](GstGLContext** application) {
      return gst_gl_ensure_element_data(element, display, application) != FALSE;
    });
  });
  if (!ready) return false;
  {
    std::lock_guard lock(h.mutex);
    if (h.context != nullptr) return true;
  }
  GstGLContext* found = h.find_context(element);
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
  release_context();
  handles_->application.put(nullptr);
  handles_->display.put(nullptr);
}

void GlOutput::set_context(GstElement* element, GstContext* context) {
  GstGLDisplay* display = nullptr;
  GstGLContext* application = nullptr;
  gst_gl_handle_set_context(element, context, &display, &application);
  if (display != nullptr) handles_->display.put(display);
  if (application != nullptr) handles_->application.put(application);
}

bool GlOutput::answer(GstElement* element, GstQuery* query) {
  GstGLDisplay* display = handles_->display.ref();
  GstGLContext *application = handles_->application.ref(), *context = nullptr;
  {
    std::lock_guard lock(handles_->mutex);
    if (handles_->context != nullptr) context = GST_GL_CONTEXT(gst_object_ref(handles_->context));
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
