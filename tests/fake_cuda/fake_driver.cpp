// SPDX-License-Identifier: LGPL-2.1-or-later
// The calls that libgstcuda 1.22 loads, those about the primary context that the plugin loads itself, and
// those that the engine loads for planes in CUDA memory. GStreamer 1.24 and later load more, but can do
// without them.
#include <cuda.h>
#include <cudaGL.h>

#include <cstdio>
#include <cstring>

#include "fake_memory.h"

// cuda.h renames these to their newest versions; libgstcuda asks for the names as they are here.
#undef cuStreamDestroy
#undef cuDevicePrimaryCtxRelease

using namespace fake_cuda;

namespace {

CUcontext new_context(Books& b) {
  auto context = reinterpret_cast<CUcontext>(static_cast<uintptr_t>(0x1000 + 16 * ++b.made));
  b.contexts.insert(context);
  return context;
}

bool exists(CUcontext context) {
  std::lock_guard lock(books().mutex);
  return books().contexts.count(context) > 0;
}

CUresult copy(const CUDA_MEMCPY2D* c, const char* call) {
  if (current(call) == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  const bool from_host = c->srcMemoryType == CU_MEMORYTYPE_HOST,
             to_host = c->dstMemoryType == CU_MEMORYTYPE_HOST;
  const auto from =
      (from_host ? reinterpret_cast<uintptr_t>(c->srcHost) : static_cast<uintptr_t>(c->srcDevice)) +
      c->srcY * c->srcPitch + c->srcXInBytes;
  const auto to = (to_host ? reinterpret_cast<uintptr_t>(c->dstHost) : static_cast<uintptr_t>(c->dstDevice)) +
                  c->dstY * c->dstPitch + c->dstXInBytes;
  if (c->Height == 0) return CUDA_SUCCESS;
  if (c->WidthInBytes > c->srcPitch || c->WidthInBytes > c->dstPitch)
    return misuse(CUDA_ERROR_INVALID_VALUE, "copy of rows that are longer than their pitch");
  const size_t read = (c->Height - 1) * c->srcPitch + c->WidthInBytes;
  const size_t written = (c->Height - 1) * c->dstPitch + c->WidthInBytes;
  if ((!from_host && !is_on_device(from, read)) || (!to_host && !is_on_device(to, written)))
    return misuse(CUDA_ERROR_INVALID_VALUE, "copy out of bounds");
  if (!to_host && !gl_is_done_with(to))
    return misuse(CUDA_ERROR_ILLEGAL_STATE, "a copy into a buffer that OpenGL still reads");
  for (size_t y = 0; y < c->Height; ++y) {
    std::memcpy(reinterpret_cast<void*>(to + y * c->dstPitch),
                reinterpret_cast<const void*>(from + y * c->srcPitch), c->WidthInBytes);
  }
  if (!to_host) ++(from_host ? books().to_device : books().on_device);
  return CUDA_SUCCESS;
}

}  // namespace

extern "C" {

CUresult cuInit(unsigned) {
  return CUDA_SUCCESS;
}
CUresult cuGetErrorName(CUresult, const char** text) {
  *text = "FAKE";
  return CUDA_SUCCESS;
}
CUresult cuGetErrorString(CUresult, const char** text) {
  *text = "refused by the stand-in driver";
  return CUDA_SUCCESS;
}
CUresult cuDriverGetVersion(int* version) {
  *version = 13000;
  return CUDA_SUCCESS;
}

// ---- devices: one
CUresult cuDeviceGet(CUdevice* device, int number) {
  *device = number;
  return number == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
CUresult cuDeviceGetCount(int* count) {
  *count = 1;
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetName(char* name, int size, CUdevice) {
  std::snprintf(name, static_cast<size_t>(size), "Stand-in");
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
  *value = attribute == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR ? 9
           : attribute == CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT      ? 512
           : attribute == CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING     ? 1
                                                                     : 0;
  return CUDA_SUCCESS;
}
CUresult cuDeviceCanAccessPeer(int* can, CUdevice, CUdevice) {
  *can = 0;
  return CUDA_SUCCESS;
}

// ---- contexts
#undef cuCtxCreate
CUresult cuCtxCreate_v2(CUcontext* context, unsigned, CUdevice) {
  {
    std::lock_guard lock(books().mutex);
    *context = new_context(books());
  }
  stack().push_back(*context);
  return CUDA_SUCCESS;
}
CUresult cuCtxDestroy_v2(CUcontext context) {
  {
    std::lock_guard lock(books().mutex);
    const bool primary = context == books().primary;
    if (!primary && books().contexts.erase(context) > 0) return CUDA_SUCCESS;
  }
  return misuse(CUDA_ERROR_INVALID_CONTEXT, "cuCtxDestroy of a context that is gone, or the primary one");
}
CUresult cuCtxPushCurrent_v2(CUcontext context) {
  if (!exists(context))
    return misuse(CUDA_ERROR_INVALID_CONTEXT, "cuCtxPushCurrent of a context that is gone");
  stack().push_back(context);
  return CUDA_SUCCESS;
}
CUresult cuCtxPopCurrent_v2(CUcontext* context) {
  if (stack().empty()) return misuse(CUDA_ERROR_INVALID_CONTEXT, "cuCtxPopCurrent without a push");
  if (context != nullptr) *context = stack().back();
  stack().pop_back();
  return CUDA_SUCCESS;
}
CUresult cuCtxGetCurrent(CUcontext* context) {
  *context = stack().empty() ? nullptr : stack().back();
  return CUDA_SUCCESS;
}
CUresult cuCtxEnablePeerAccess(CUcontext, unsigned) {
  return CUDA_SUCCESS;
}
CUresult cuCtxDisablePeerAccess(CUcontext) {
  return CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) {
  Books& b = books();
  std::lock_guard lock(b.mutex);
  if (b.primary_references++ == 0) b.primary = new_context(b);
  *context = b.primary;
  return CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice) {
  Books& b = books();
  {
    std::lock_guard lock(b.mutex);
    if (b.primary_references > 0) {
      if (--b.primary_references == 0) b.contexts.erase(b.primary);
      return CUDA_SUCCESS;
    }
  }
  return misuse(CUDA_ERROR_INVALID_CONTEXT, "cuDevicePrimaryCtxRelease without a retain");
}

// ---- memory
CUresult cuMemAlloc_v2(CUdeviceptr* pointer, size_t size) {
  return allocate(reinterpret_cast<void**>(pointer), size, true, "cuMemAlloc");
}
CUresult cuMemAllocPitch_v2(CUdeviceptr* pointer, size_t* pitch, size_t width, size_t height, unsigned) {
  *pitch = (width + 511) / 512 * 512;
  return allocate(reinterpret_cast<void**>(pointer), *pitch * height, true, "cuMemAllocPitch");
}
CUresult cuMemAllocHost_v2(void** pointer, size_t size) {
  return allocate(pointer, size, false, "cuMemAllocHost");
}
CUresult cuMemFree_v2(CUdeviceptr pointer) {
  return release(static_cast<uintptr_t>(pointer), "cuMemFree");
}
CUresult cuMemFreeHost(void* pointer) {
  return release(reinterpret_cast<uintptr_t>(pointer), "cuMemFreeHost");
}
CUresult cuMemGetInfo_v2(size_t* free, size_t* total) {
  if (current("cuMemGetInfo") == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  *total = size_t{1} << 30;
  *free = *total - bytes_on_device();
  return CUDA_SUCCESS;
}
CUresult cuPointerGetAttribute(void* value, CUpointer_attribute attribute, CUdeviceptr pointer) {
  const Allocation* allocation = allocation_at(static_cast<uintptr_t>(pointer));
  if (allocation == nullptr)
    return CUDA_ERROR_INVALID_VALUE;  // what a driver says of pointers it does not know
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
      *static_cast<CUcontext*>(value) = allocation->context;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
      *static_cast<unsigned*>(value) = allocation->on_device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}
CUresult cuMemcpy2D_v2(const CUDA_MEMCPY2D* c) {
  return copy(c, "cuMemcpy2D");
}
CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D* c, CUstream) {
  return copy(c, "cuMemcpy2DAsync");
}

// ---- streams: everything is done at once
CUresult cuStreamCreate(CUstream* stream, unsigned) {
  static std::atomic<uintptr_t> made{0x1000};
  *stream = reinterpret_cast<CUstream>(++made);
  return CUDA_SUCCESS;
}
CUresult cuStreamDestroy(CUstream) {
  return CUDA_SUCCESS;
}
CUresult cuStreamSynchronize(CUstream stream) {
  gl_waited_for(stream);
  return current("cuStreamSynchronize") == nullptr ? CUDA_ERROR_INVALID_CONTEXT : CUDA_SUCCESS;
}

// ---- no kernels
CUresult cuModuleLoadData(CUmodule*, const void*) {
  return CUDA_ERROR_NOT_SUPPORTED;
}
CUresult cuModuleUnload(CUmodule) {
  return CUDA_SUCCESS;
}
CUresult cuModuleGetFunction(CUfunction*, CUmodule, const char*) {
  return CUDA_ERROR_NOT_SUPPORTED;
}
CUresult cuTexObjectCreate(CUtexObject*, const CUDA_RESOURCE_DESC*, const CUDA_TEXTURE_DESC*,
                           const CUDA_RESOURCE_VIEW_DESC*) {
  return CUDA_ERROR_NOT_SUPPORTED;
}
CUresult cuTexObjectDestroy(CUtexObject) {
  return CUDA_SUCCESS;
}
CUresult cuLaunchKernel(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                        CUstream, void**, void**) {
  return CUDA_ERROR_NOT_SUPPORTED;
}

}  // extern "C"
