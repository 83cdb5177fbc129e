// SPDX-License-Identifier: LGPL-2.1-or-later
// OpenGL buffers in the stand-in driver: "mapped" device memory of its own, which unmapping copies into the
// buffer by OpenGL itself. So it works on any OpenGL, and only on a thread with a current context, as the
// real one does.
#include <cuda.h>
#include <cudaGL.h>
#include <dlfcn.h>

#include <mutex>
#include <set>

#include "fake_cuda.h"
#include "fake_memory.h"

using namespace fake_cuda;

namespace {

constexpr unsigned kUnpackBuffer = 0x88EC, kBufferSize = 0x8764;  // GL_PIXEL_UNPACK_BUFFER, GL_BUFFER_SIZE

struct Gl {
  void (*bind)(unsigned, unsigned) = nullptr;
  void (*size_of)(unsigned, unsigned, int*) = nullptr;
  void (*write)(unsigned, long, long, const void*) = nullptr;
};

const Gl& gl() {
  static const Gl calls = [] {
    Gl found;
    void* library = dlopen("libGL.so.1", RTLD_NOW);
    if (library == nullptr) return found;
    found.bind = reinterpret_cast<decltype(found.bind)>(dlsym(library, "glBindBuffer"));
    found.size_of = reinterpret_cast<decltype(found.size_of)>(dlsym(library, "glGetBufferParameteriv"));
    found.write = reinterpret_cast<decltype(found.write)>(dlsym(library, "glBufferSubData"));
    return found;
  }();
  return calls;
}

struct Resource {
  unsigned buffer = 0;
  int size = 0;
  void* memory = nullptr;
  bool mapped = false;
  CUstream stream = nullptr;  // that it is mapped on
};

// Mapped buffers that OpenGL may still read.
struct Reads {
  std::mutex mutex;
  std::set<Resource*> buffers;
};
Reads& reads() {
  static Reads one;
  return one;
}

Resource* resource_of(CUgraphicsResource handle) {
  return reinterpret_cast<Resource*>(handle);
}

std::atomic<bool> gl_on_device{false};

}  // namespace

bool fake_cuda::gl_is_done_with(uintptr_t pointer) {
  const std::lock_guard lock(reads().mutex);
  for (const Resource* one : reads().buffers) {
    const auto begin = reinterpret_cast<uintptr_t>(one->memory);
    if (pointer >= begin && pointer < begin + static_cast<uintptr_t>(one->size)) return false;
  }
  return true;
}

void fake_cuda::gl_waited_for(CUstream stream) {
  const std::lock_guard lock(reads().mutex);
  std::erase_if(reads().buffers, [&](const Resource* one) { return one->stream == stream; });
}

extern "C" {

void fake_cuda_put_gl_on_device(int on) {
  gl_on_device = on != 0;
}

CUresult cuGLGetDevices_v2(unsigned* count, CUdevice* devices, unsigned room, CUGLDeviceList) {
  *count = gl_on_device && room > 0 ? 1 : 0;
  if (*count == 0) return CUDA_ERROR_NO_DEVICE;
  devices[0] = 0;
  return CUDA_SUCCESS;
}

CUresult cuGraphicsGLRegisterBuffer(CUgraphicsResource* handle, GLuint buffer, unsigned) {
  if (current("cuGraphicsGLRegisterBuffer") == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  if (!gl_on_device || gl().write == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  auto* resource = new Resource{buffer, 0, nullptr, false, nullptr};
  gl().bind(kUnpackBuffer, buffer);
  gl().size_of(kUnpackBuffer, kBufferSize, &resource->size);
  gl().bind(kUnpackBuffer, 0);
  const CUresult result = allocate(&resource->memory, static_cast<size_t>(resource->size), true, "register");
  if (resource->size <= 0 || result != CUDA_SUCCESS) {
    delete resource;
    return CUDA_ERROR_INVALID_GRAPHICS_CONTEXT;
  }
  *handle = reinterpret_cast<CUgraphicsResource>(resource);
  return CUDA_SUCCESS;
}

CUresult cuGraphicsUnregisterResource(CUgraphicsResource handle) {
  Resource* resource = resource_of(handle);
  if (resource->mapped) return misuse(CUDA_ERROR_UNKNOWN, "cuGraphicsUnregisterResource while it is mapped");
  const CUresult result =
      release(reinterpret_cast<uintptr_t>(resource->memory), "cuGraphicsUnregisterResource");
  delete resource;
  return result;
}

CUresult cuGraphicsMapResources(unsigned, CUgraphicsResource* handles, CUstream stream) {
  if (current("cuGraphicsMapResources") == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  Resource* resource = resource_of(handles[0]);
  if (resource->mapped) return misuse(CUDA_ERROR_ALREADY_MAPPED, "cuGraphicsMapResources twice");
  if (stream == nullptr) return misuse(CUDA_ERROR_INVALID_HANDLE, "a buffer of OpenGL on the default stream");
  resource->mapped = true;
  resource->stream = stream;
  const std::lock_guard lock(reads().mutex);
  reads().buffers.insert(resource);
  return CUDA_SUCCESS;
}

CUresult cuGraphicsUnmapResources(unsigned, CUgraphicsResource* handles, CUstream stream) {
  Resource* resource = resource_of(handles[0]);
  if (stream != resource->stream)
    return misuse(CUDA_ERROR_INVALID_HANDLE,
                  "cuGraphicsUnmapResources on another stream than it was mapped on");
  if (!resource->mapped)
    return misuse(CUDA_ERROR_NOT_MAPPED, "cuGraphicsUnmapResources of what is not mapped");
  resource->mapped = false;
  gl().bind(kUnpackBuffer, resource->buffer);
  gl().write(kUnpackBuffer, 0, resource->size, resource->memory);
  gl().bind(kUnpackBuffer, 0);
  return CUDA_SUCCESS;
}

CUresult cuGraphicsResourceGetMappedPointer_v2(CUdeviceptr* pointer, size_t* size,
                                               CUgraphicsResource handle) {
  Resource* resource = resource_of(handle);
  if (!resource->mapped) return misuse(CUDA_ERROR_NOT_MAPPED, "a pointer to what is not mapped");
  *pointer = reinterpret_cast<CUdeviceptr>(resource->memory);
  *size = static_cast<size_t>(resource->size);
  return CUDA_SUCCESS;
}

CUresult cuGraphicsResourceSetMapFlags_v2(CUgraphicsResource, unsigned) {
  return CUDA_SUCCESS;
}
CUresult cuGraphicsGLRegisterImage(CUgraphicsResource*, GLuint, GLenum, unsigned) {
  return CUDA_ERROR_NOT_SUPPORTED;
}
CUresult cuGraphicsSubResourceGetMappedArray(CUarray*, CUgraphicsResource, unsigned, unsigned) {
  return CUDA_ERROR_NOT_SUPPORTED;
}
}
