// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cuda_gl_output.h"

#if defined(FLOWCACHE_GL) && defined(FLOWCACHE_CUDA)
#include <gst/cuda/cuda-gst.h>
#include <gst/cuda/gstcudautils.h>
#include <gst/gl/gl.h>
#include <gst/gl/gstglmemorypbo.h>

#include <exception>

#include "cuda_context.h"

namespace flowcache::gst {
namespace {

struct Job {
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

/// Kept on the memory, and so for as long as the pool keeps that. Null if it cannot be registered.
GstCudaGraphicsResource* registered(Job& job, GstGLContext* context) {
  auto* memory = GST_MEMORY_CAST(job.memory);
  const GQuark key = gst_cuda_quark_from_id(GST_CUDA_QUARK_GRAPHICS_RESOURCE);
  if (gpointer kept = gst_mini_object_get_qdata(GST_MINI_OBJECT(memory), key)) {
    return static_cast<GstCudaGraphicsResource*>(kept);
  }
  GstMapInfo map;  // makes the upload buffer exist
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

/// Writes into the mapped buffer, and tells OpenGL that the texture is to be made from it.
void write_mapped(Job& job, GstCudaGraphicsResource* resource) {
  CUgraphicsResource mapped =
      gst_cuda_graphics_resource_map(resource, nullptr, CU_GRAPHICS_MAP_RESOURCE_FLAGS_WRITE_DISCARD);
  if (mapped == nullptr) return;
  CUdeviceptr pointer = 0;
  size_t size = 0;
  const auto stride = static_cast<uint32_t>(GST_VIDEO_INFO_PLANE_STRIDE(&job.memory->mem.info, 0));
  if (CuGraphicsResourceGetMappedPointer(&pointer, &size, mapped) == CUDA_SUCCESS &&
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
  gst_cuda_graphics_resource_unmap(resource, nullptr);
  if (job.result != GlWrite::Done) return;
  GST_MINI_OBJECT_FLAG_SET(job.memory, GST_GL_BASE_MEMORY_TRANSFER_NEED_UPLOAD);
  GST_MINI_OBJECT_FLAG_SET(job.memory->pbo, GST_GL_BASE_MEMORY_TRANSFER_NEED_DOWNLOAD);
}

/// On the thread of OpenGL. No exception may leave it.
void run(GstGLContext* context, gpointer user) {
  Job& job = *static_cast<Job*>(user);
  try {
    const CurrentContext current(job.primary);
    if (GstCudaGraphicsResource* resource = registered(job, context)) write_mapped(job, resource);
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
  Job job{GST_CUDA_CONTEXT(primary), pbo, info, writer, status, error};
  gst_gl_context_thread_add(pbo->mem.mem.context, run, &job);
  return job.result;
}

}  // namespace flowcache::gst

#else

namespace flowcache::gst {

GlWrite write_cuda_to_gl(GstObject*, GstBuffer*, const GstVideoInfo&, const PlaneWriter&, fc_status*,
                         std::string*) {
  return GlWrite::Unavailable;
}

}  // namespace flowcache::gst

#endif
