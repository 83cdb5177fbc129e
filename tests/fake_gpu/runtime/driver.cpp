// SPDX-License-Identifier: LGPL-2.1-or-later
// The driver, as kernels/cuda_driver.cpp and GStreamer's library use it.
#include <vector>

#include "gpu.h"

using namespace fake_gpu;

static thread_local std::vector<void*> contexts;
static void* primary_context(int device) {
  return reinterpret_cast<void*>(uintptr_t{0xC0DE0000} + device);
}

EXPORTED int cuInit(unsigned) {
  return devices() > 0 ? 0 : 100;
}
EXPORTED int cuGetErrorName(int, const char** text) {
  *text = "CUDA_ERROR_FAKE";
  return 0;
}
EXPORTED int cuDriverGetVersion(int* version) {
  *version = driver_version();
  return 0;
}
EXPORTED int cuPointerGetAttribute(void* value, int attribute, uint64_t address) {
  const std::lock_guard lock(gpu().mutex);
  if (!gpu().holds(reinterpret_cast<void*>(address))) return 1;
  constexpr int context = 1, memory_type = 2;
  if (attribute == context)
    *static_cast<void**>(value) = primary_context(0);
  else
    *static_cast<int*>(value) = attribute == memory_type ? 2 : 0;
  return 0;
}
EXPORTED int cuDevicePrimaryCtxRetain(void** context, int device) {
  *context = primary_context(device);
  return 0;
}
EXPORTED int cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) {
  *flags = 0;
  *active = 1;
  return 0;
}
EXPORTED int cuCtxPushCurrent_v2(void* context) {
  contexts.push_back(context);
  return 0;
}
EXPORTED int cuCtxPopCurrent_v2(void** context) {
  if (contexts.empty()) return 201;
  if (context) *context = contexts.back();
  contexts.pop_back();
  return 0;
}
EXPORTED int cuMemcpy2D_v2(const void*) {
  count(&FakeGpuCounts::to_device);
  return 0;
}
