// SPDX-License-Identifier: LGPL-2.1-or-later
#include "output.h"

#ifdef FLOWCACHE_GL
#include <gst/gl/gl.h>
#endif
#if defined(FLOWCACHE_GL) && defined(FLOWCACHE_CUDA)
#include <gst/cuda/cuda-gst.h>
#include <gst/cuda/gstcudautils.h>
#include <gst/gl/gstglmemorypbo.h>
#endif

#include <exception>
#include <mutex>

#include "engine.h"

namespace flowcache::gst {

#ifdef FLOWCACHE_GL

struct GlOutput::Handles {
  ContextSlot<GstGLDisplay> display;
  ContextSlot<GstGLContext> application;
  std::mutex mutex;
  GstGLContext* context = nullptr;  // under `mutex`

  // Downstream's context, or a new one on the display; owned by the caller; null if there is none.
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

#else

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

#endif

#if defined(FLOWCACHE_GL) && defined(FLOWCACHE_CUDA)

namespace {

// Makes a context current while it exists.
struct CurrentForTextures {
  explicit CurrentForTextures(GstCudaContext* context) : pushed(gst_cuda_context_push(context)) {}
  ~CurrentForTextures() {
    if (pushed) gst_cuda_context_pop(nullptr);
  }
  CurrentForTextures(const CurrentForTextures&) = delete;
  CurrentForTextures& operator=(const CurrentForTextures&) = delete;
  const bool pushed;
};

struct TextureJob {
  GstCudaContext* primary;
  GstGLMemoryPBO* memory;
  const GstVideoInfo& info;
  const PlaneWriter& writer;
  fc_status* status;
  std::string* error;
  GlWrite result = GlWrite::Unavailable;
};

bool gl_is_on_cuda_device() {
  unsigned count = 0;
  CUdevice device = 0;
  return CuGLGetDevices(&count, &device, 1, CU_GL_DEVICE_LIST_ALL) == CUDA_SUCCESS && count > 0;
}

// CUDA's registration of the texture's upload buffer. It is stored on the memory, so it exists as long as
// the pool keeps the memory. Null if the buffer cannot be registered.
GstCudaGraphicsResource* registered(TextureJob& job, GstGLContext* context) {
  auto* memory = GST_MEMORY_CAST(job.memory);
  const GQuark key = gst_cuda_quark_from_id(GST_CUDA_QUARK_GRAPHICS_RESOURCE);
  if (gpointer kept = gst_mini_object_get_qdata(GST_MINI_OBJECT(memory), key)) {
    return static_cast<GstCudaGraphicsResource*>(kept);
  }
  GstMapInfo map;  // mapping creates the upload buffer
  if (!gst_memory_map(memory, &map, static_cast<GstMapFlags>(GST_MAP_READ | GST_MAP_GL))) return nullptr;
  gst_memory_unmap(memory, &map);
  if (job.memory->pbo == nullptr || !gl_is_on_cuda_device()) return nullptr;
  GstCudaGraphicsResource* resource =
      gst_cuda_graphics_resource_new(job.primary, GST_OBJECT(context), GST_CUDA_GRAPHICS_RESOURCE_GL_BUFFER);
  if (!gst_cuda_graphics_resource_register_gl_buffer(resource, job.memory->pbo->id,
                                                     CU_GRAPHICS_REGISTER_FLAGS_NONE)) {
    gst_cuda_graphics_resource_free(resource);
    return nullptr;
  }
  gst_mini_object_set_qdata(GST_MINI_OBJECT(memory), key, resource,
                            reinterpret_cast<GDestroyNotify>(gst_cuda_graphics_resource_free));
  return resource;
}

// A stream of the current context, apart from the default one, on which other libraries' work may wait.
class OwnStream {
 public:
  OwnStream() {
    if (CuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING) != CUDA_SUCCESS) stream_ = nullptr;
  }
  ~OwnStream() {
    if (stream_ != nullptr) CuStreamDestroy(stream_);
  }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  CUstream get() const { return stream_; }

 private:
  CUstream stream_ = nullptr;
};

// Writes into the mapped buffer, and tells OpenGL to make the texture from it. Mapping puts what OpenGL still reads in
// front of the stream that it is given, and only of that one. The writer has a stream of its own, so it begins when that
// is done, and it is done itself when it returns.
void write_registered(TextureJob& job, GstCudaGraphicsResource* resource) {
  const OwnStream stream;
  CUgraphicsResource mapped =
      gst_cuda_graphics_resource_map(resource, stream.get(), CU_GRAPHICS_MAP_RESOURCE_FLAGS_WRITE_DISCARD);
  if (mapped == nullptr) return;
  CUdeviceptr pointer = 0;
  size_t size = 0;
  const auto stride = static_cast<uint32_t>(GST_VIDEO_INFO_PLANE_STRIDE(&job.memory->mem.info, 0));
  if (CuStreamSynchronize(stream.get()) == CUDA_SUCCESS &&
      CuGraphicsResourceGetMappedPointer(&pointer, &size, mapped) == CUDA_SUCCESS &&
      size >= size_t{stride} * static_cast<size_t>(GST_VIDEO_INFO_HEIGHT(&job.info))) {
    fc_planes planes{};
    planes.size = sizeof planes;
    planes.memory = FC_MEMORY_CUDA;
    planes.format = FC_FORMAT_RGBA;
    planes.plane[0] = reinterpret_cast<void*>(pointer);
    planes.stride[0] = stride;
    *job.status = job.writer(planes, job.error);
    job.result = *job.status == FC_OK ? GlWrite::Done : GlWrite::Failed;
  }
  gst_cuda_graphics_resource_unmap(resource, stream.get());
  if (job.result != GlWrite::Done) return;
  GST_MINI_OBJECT_FLAG_SET(job.memory, GST_GL_BASE_MEMORY_TRANSFER_NEED_UPLOAD);
  GST_MINI_OBJECT_FLAG_SET(job.memory->pbo, GST_GL_BASE_MEMORY_TRANSFER_NEED_DOWNLOAD);
}

// Runs on the thread of OpenGL. Exceptions must not leave it.
void run_on_gl_thread(GstGLContext* context, gpointer user) {
  TextureJob& job = *static_cast<TextureJob*>(user);
  try {
    const CurrentForTextures current(job.primary);
    if (GstCudaGraphicsResource* resource = registered(job, context)) write_registered(job, resource);
  } catch (const std::exception& defect) {
    job.result = GlWrite::Failed;
    *job.status = FC_ERROR_INTERNAL;
    *job.error = defect.what();
  }
}

}  // namespace

GlWrite write_cuda_to_gl(GstObject* primary, GstBuffer* buffer, const GstVideoInfo& info,
                         const PlaneWriter& writer, fc_status* status, std::string* error) {
  GstMemory* memory = gst_buffer_peek_memory(buffer, 0);
  if (primary == nullptr || !gst_is_gl_memory_pbo(memory)) return GlWrite::Unavailable;
  auto* pbo = reinterpret_cast<GstGLMemoryPBO*>(memory);
  TextureJob job{GST_CUDA_CONTEXT(primary), pbo, info, writer, status, error};
  gst_gl_context_thread_add(pbo->mem.mem.context, run_on_gl_thread, &job);
  return job.result;
}

#else

GlWrite write_cuda_to_gl(GstObject*, GstBuffer*, const GstVideoInfo&, const PlaneWriter&, fc_status*,
                         std::string*) {
  return GlWrite::Unavailable;
}

#endif

}  // namespace flowcache::gst
