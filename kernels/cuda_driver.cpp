// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cuda_driver.h"

#include <dlfcn.h>

#include "base/error.h"

namespace flowcache {
namespace {

// Values of CUpointer_attribute and CUmemorytype.
constexpr int kContext = 1, kMemoryType = 2, kDeviceOrdinal = 9;
constexpr unsigned kDeviceMemory = 2;

struct Opened {
  CudaDriver driver{};
  std::string problem;
};

template <class Function>
void find(void* library, const char* name, Function* function, std::string* problem) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  if (!*function && problem->empty()) *problem = std::string("libcuda.so.1 has no ") + name;
}

Opened open_driver() {
  Opened o;
  void* library = dlopen("libcuda.so.1", RTLD_NOW);  // stays open: GStreamer and LibTorch use it too
  if (!library) {
    o.problem = dlerror();
    return o;
  }
  find(library, "cuInit", &o.driver.init, &o.problem);
  find(library, "cuGetErrorName", &o.driver.error_name, &o.problem);
  find(library, "cuPointerGetAttribute", &o.driver.pointer_attribute, &o.problem);
  find(library, "cuDevicePrimaryCtxRetain", &o.driver.retain_primary_context, &o.problem);
  find(library, "cuCtxPushCurrent_v2", &o.driver.push_context, &o.problem);
  find(library, "cuCtxPopCurrent_v2", &o.driver.pop_context, &o.problem);
  find(library, "cuMemcpy2D_v2", &o.driver.copy_2d, &o.problem);
  if (!o.problem.empty()) return o;
  if (const int error = o.driver.init(0)) o.problem = "cuInit: " + o.driver.name_of(error);
  return o;
}

}  // namespace

const CudaDriver& CudaDriver::get() {
  static const Opened opened = open_driver();
  if (!opened.problem.empty())
    throw Error(FC_ERROR_DEVICE, "planes in CUDA memory cannot be used, as no NVIDIA driver answers: " +
                                     opened.problem + "; pass FC_MEMORY_HOST planes");
  return opened.driver;
}

std::string CudaDriver::name_of(int error) const {
  const char* name = nullptr;
  if (error_name(error, &name) == 0 && name) return name;
  return "CUDA error " + std::to_string(error);
}

void* CudaDriver::context_of(const void* pointer) const {
  const auto address = reinterpret_cast<uint64_t>(pointer);
  unsigned type = 0;
  if (pointer_attribute(&type, kMemoryType, address) != 0 || type != kDeviceMemory) return nullptr;
  void* context = nullptr;
  if (pointer_attribute(&context, kContext, address) == 0 && context) return context;
  // Memory of virtual address ranges and of pools belongs to a device, not to a context. The primary context
  // is retained for ever, as LibTorch does.
  int device = 0;
  if (pointer_attribute(&device, kDeviceOrdinal, address) != 0) return nullptr;
  return retain_primary_context(&context, device) == 0 ? context : nullptr;
}

CurrentCudaContext::CurrentCudaContext(const CudaDriver& driver, void* context) : driver_(driver) {
  if (const int error = driver.push_context(context))
    throw Error(FC_ERROR_DEVICE, "the CUDA context of the planes cannot be made current: " +
                                     driver.name_of(error) + "; it may be gone: allocate the planes anew");
}

}  // namespace flowcache
