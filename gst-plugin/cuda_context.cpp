// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cuda_context.h"

#include <dlfcn.h>
#include <gst/cuda/cuda-gst.h>

#include <charconv>

namespace flowcache::gst {
namespace {

/// What libgstcuda does not load of the driver. Null where an old driver lacks it.
struct DriverCalls {
  CUresult (*retain)(CUcontext*, CUdevice) = nullptr;
  CUresult (*release)(CUdevice) = nullptr;
  CUresult (*memory)(size_t* free, size_t* total) = nullptr;
};

const DriverCalls& driver_calls() {
  static const DriverCalls calls = [] {
    DriverCalls found;
    void* driver = dlopen("libcuda.so.1", RTLD_NOW);  // libgstcuda keeps it open
    if (driver == nullptr) return found;
    found.retain = reinterpret_cast<decltype(found.retain)>(dlsym(driver, "cuDevicePrimaryCtxRetain"));
    found.release = reinterpret_cast<decltype(found.release)>(dlsym(driver, "cuDevicePrimaryCtxRelease_v2"));
    found.memory = reinterpret_cast<decltype(found.memory)>(dlsym(driver, "cuMemGetInfo_v2"));
    if (found.release == nullptr) found.retain = nullptr;
    return found;
  }();
  return calls;
}

/// One more than the device's number: GLib takes null for nothing.
void release_primary(gpointer device) {
  driver_calls().release(GPOINTER_TO_INT(device) - 1);
}

}  // namespace

int cuda_device_number(const std::string& device) {
  int number = 0;
  const auto colon = device.find(':');
  if (colon != std::string::npos) {
    std::from_chars(device.data() + colon + 1, device.data() + device.size(), number);
  }
  return number;
}

bool device_memory_of(GstCudaContext* context, guint64* used, guint64* total) {
  const CurrentContext current(context);
  size_t free = 0, all = 0;
  if (driver_calls().memory == nullptr || driver_calls().memory(&free, &all) != CUDA_SUCCESS) return false;
  *used = all - free;
  *total = all;
  return true;
}

GstCudaContext* wrap_primary_context(int number) {
  const DriverCalls& calls = driver_calls();
  CUdevice device = 0;
  CUcontext handle = nullptr;
  if (calls.retain == nullptr || CuInit(0) != CUDA_SUCCESS || CuDeviceGet(&device, number) != CUDA_SUCCESS ||
      calls.retain(&handle, device) != CUDA_SUCCESS) {
    return nullptr;
  }
  GstCudaContext* context = gst_cuda_context_new_wrapped(handle, device);
  if (context == nullptr) {
    calls.release(device);
    return nullptr;
  }
  g_object_set_data_full(G_OBJECT(context), "flowcache-primary-context", GINT_TO_POINTER(device + 1),
                         release_primary);
  return context;
}

}  // namespace flowcache::gst
