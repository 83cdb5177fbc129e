// SPDX-License-Identifier: LGPL-2.1-or-later
// NVIDIA's libraries without a GPU, below the real libtorch_cuda.so: the engine runs with device=cuda as it is.
// Everything that the host does is real: dispatch, checks of devices, types and strides, the caching allocator,
// streams, events. Kernels are counted and not run. Device memory is reserved without access, so that the host
// faults when it touches it, as on a GPU. A copy to the host gives zeros; a single byte, which is a bool, gives 1.
#include "fake_gpu.h"

#include <cuda_runtime_api.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace {

constexpr size_t page = 0x200000;

long number(const char* variable, long fallback) {
  const char* text = std::getenv(variable);
  return text ? static_cast<long>(std::strtod(text, nullptr)) : fallback;
}

struct Gpu {
  std::mutex mutex;
  FakeGpuCounts counts{};
  std::map<const void*, std::string> names;  // of kernels, by the host function that stands for them
  std::map<std::string, long> launched;
  std::map<uintptr_t, size_t> memory;  // live allocations

  ~Gpu() {
    std::vector<std::pair<long, std::string>> sorted;
    for (const auto& [name, count] : launched) sorted.emplace_back(count, name);
    std::sort(sorted.rbegin(), sorted.rend());
    const auto most = static_cast<size_t>(number("FAKE_GPU_KERNELS", 0));
    for (size_t i = 0; i < std::min(most, sorted.size()); ++i)
      std::fprintf(stderr, "%8ld %.150s\n", sorted[i].first, sorted[i].second.c_str());
  }
  bool holds(const void* address) const {
    const auto at = reinterpret_cast<uintptr_t>(address);
    auto next = memory.upper_bound(at);
    if (next == memory.begin()) return false;
    --next;
    return at < next->first + next->second;
  }
};

// Kernels are registered before the constructors of this file run, and used until after its destructors.
Gpu& gpu() {
  static Gpu one;
  return one;
}

thread_local int current_device = 0;

void* new_handle() {
  static uintptr_t next = 0x1000;
  const std::lock_guard lock(gpu().mutex);
  return reinterpret_cast<void*>(next += 16);
}

template <typename Member>
void count(Member member) {
  const std::lock_guard lock(gpu().mutex);
  ++(gpu().counts.*member);
}

cudaError_t synchronized() {
  count(&FakeGpuCounts::syncs);
  return cudaSuccess;
}

cudaError_t launch(const void* function, dim3 grid, dim3 block) {
  const std::lock_guard lock(gpu().mutex);
  ++gpu().counts.launches;
  const auto found = gpu().names.find(function);
  const std::string name = found == gpu().names.end() ? "unknown" : found->second;
  ++gpu().launched[name];
  const unsigned threads = block.x * block.y * block.z;
  if (grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.y <= 65535 && grid.z <= 65535 && threads > 0 &&
      threads <= 1024)
    return cudaSuccess;
  std::fprintf(stderr, "fake GPU: %s launched with grid %u, %u, %u and block %u, %u, %u\n", name.c_str(),
               grid.x, grid.y, grid.z, block.x, block.y, block.z);
  return cudaErrorInvalidConfiguration;
}

int product(const char* name) {
  const std::lock_guard lock(gpu().mutex);
  ++gpu().counts.launches;
  ++gpu().launched[name];
  return 0;
}

cudaError_t copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const std::lock_guard lock(gpu().mutex);
  FakeGpuCounts& counts = gpu().counts;
  const bool to_device = gpu().holds(to), from_device = gpu().holds(from);
  const bool wrong = (kind == cudaMemcpyHostToDevice && (!to_device || from_device)) ||
                     (kind == cudaMemcpyDeviceToHost && (to_device || !from_device));
  if (wrong) {
    std::fprintf(stderr, "fake GPU: a copy between other memories than it says\n");
    return cudaErrorInvalidValue;
  }
  if (to_device) {
    ++(from_device ? counts.on_device : counts.to_device);
  } else if (from_device) {
    ++counts.to_host;
    counts.to_host_bytes += static_cast<long>(bytes);
    std::memset(to, bytes == 1 ? 1 : 0, bytes);
  } else {
    std::memcpy(to, from, bytes);
  }
  return cudaSuccess;
}

}  // namespace

EXPORTED void fake_gpu_counts(FakeGpuCounts* counts) {
  const std::lock_guard lock(gpu().mutex);
  *counts = gpu().counts;
}

EXPORTED void fake_gpu_restart_peak(void) {
  const std::lock_guard lock(gpu().mutex);
  gpu().counts.peak = gpu().counts.used;
}

// ---- kernels

EXPORTED void** __cudaRegisterFatBinary(void*) {
  static void* handle[1];
  return handle;
}
EXPORTED void __cudaRegisterFatBinaryEnd(void**) {}
EXPORTED void __cudaUnregisterFatBinary(void**) {}
EXPORTED void __cudaRegisterFunction(void**, const char* host, char*, const char* name, int, void*, void*,
                                     void*, void*, int*) {
  const std::lock_guard lock(gpu().mutex);
  gpu().names[host] = name;
}
EXPORTED void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}

static thread_local struct {
  dim3 grid, block;
  size_t shared;
  void* stream;
} pushed;
EXPORTED unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void* stream) {
  pushed = {grid, block, shared, stream};
  return 0;
}
EXPORTED cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  *grid = pushed.grid;
  *block = pushed.block;
  *shared = pushed.shared;
  *static_cast<void**>(stream) = pushed.stream;
  return cudaSuccess;
}
EXPORTED cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}
EXPORTED cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void**, size_t,
                                        cudaStream_t) {
  return launch(kernel, grid, block);
}
EXPORTED cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void**, size_t,
                                      cudaStream_t) {
  return launch(function, grid, block);
}
EXPORTED cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void**) {
  return launch(function, config->gridDim, config->blockDim);
}
EXPORTED cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  *attributes = {};
  attributes->maxThreadsPerBlock = 1024;
  attributes->numRegs = 32;
  attributes->ptxVersion = attributes->binaryVersion = 90;
  attributes->maxDynamicSharedSizeBytes = 232448;
  return cudaSuccess;
}
EXPORTED cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) {
  return cudaSuccess;
}
EXPORTED cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*, int,
                                                                            size_t, unsigned) {
  *blocks = 2;
  return cudaSuccess;
}
EXPORTED cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int, size_t) {
  *blocks = 2;
  return cudaSuccess;
}

// ---- devices: as large as an H100

static int devices() {
  return static_cast<int>(number("FAKE_GPU_DEVICES", 1));
}
static size_t device_bytes() {
  return static_cast<size_t>(number("FAKE_GPU_BYTES", 80'000'000'000));
}
static int driver_version() {
  return static_cast<int>(number("FAKE_GPU_DRIVER", 13000));
}
static int runtime_version() {
  return static_cast<int>(number("FAKE_GPU_RUNTIME", 13000));
}

EXPORTED cudaError_t cudaGetDeviceCount(int* count) {
  // As the runtime does: a driver of an older major version is refused before anything else.
  if (driver_version() / 1000 < runtime_version() / 1000) return cudaErrorInsufficientDriver;
  *count = devices();
  return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}
EXPORTED cudaError_t cudaGetDevice(int* index) {
  *index = current_device;
  return cudaSuccess;
}
EXPORTED cudaError_t cudaSetDevice(int index) {
  if (index < 0 || index >= devices()) return cudaErrorInvalidDevice;
  current_device = index;
  return cudaSuccess;
}
EXPORTED cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  std::memset(p, 0, sizeof *p);
  std::strcpy(p->name, "Fake H100");
  p->totalGlobalMem = device_bytes();
  p->major = 9;
  p->multiProcessorCount = 132;
  p->warpSize = 32;
  p->sharedMemPerBlock = 49152;
  p->sharedMemPerBlockOptin = 232448;
  p->sharedMemPerMultiprocessor = 233472;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
  p->maxThreadsDim[2] = 64;
  p->maxThreadsPerMultiProcessor = 2048;
  p->maxGridSize[0] = p->memPitch = 2147483647;
  p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->l2CacheSize = 52428800;
  p->maxBlocksPerMultiProcessor = 32;
  p->textureAlignment = 512;
  p->unifiedAddressing = p->canMapHostMemory = 1;
  p->memoryBusWidth = 5120;
  return cudaSuccess;
}
EXPORTED cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  static const std::map<cudaDeviceAttr, int> values = {{cudaDevAttrComputeCapabilityMajor, 9},
                                                       {cudaDevAttrComputeCapabilityMinor, 0},
                                                       {cudaDevAttrMultiProcessorCount, 132},
                                                       {cudaDevAttrMaxSharedMemoryPerBlockOptin, 232448},
                                                       {cudaDevAttrMaxSharedMemoryPerBlock, 49152},
                                                       {cudaDevAttrMaxThreadsPerBlock, 1024},
                                                       {cudaDevAttrMaxThreadsPerMultiProcessor, 2048},
                                                       {cudaDevAttrMaxGridDimX, 2147483647},
                                                       {cudaDevAttrMaxGridDimY, 65535},
                                                       {cudaDevAttrMaxGridDimZ, 65535},
                                                       {cudaDevAttrWarpSize, 32}};
  const auto found = values.find(attribute);
  *value = found == values.end() ? 1 : found->second;
  return cudaSuccess;
}
EXPORTED cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
EXPORTED cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = 0;
  return cudaSuccess;
}
EXPORTED cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int) {
  std::snprintf(text, static_cast<size_t>(size), "0000:00:00.0");
  return cudaSuccess;
}
EXPORTED cudaError_t cudaDriverGetVersion(int* version) {
  *version = driver_version();
  return cudaSuccess;
}
EXPORTED cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = runtime_version();
  return cudaSuccess;
}
EXPORTED const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    default:
      return "fake GPU error";
  }
}
EXPORTED const char* cudaGetErrorName(cudaError_t) {
  return "cudaErrorFake";
}
EXPORTED cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
EXPORTED cudaError_t cudaPeekAtLastError() {
  return cudaSuccess;
}
EXPORTED cudaError_t cudaGetDriverEntryPointByVersion(const char*, void** function, unsigned,
                                                      unsigned long long,
                                                      cudaDriverEntryPointQueryResult* result) {
  *function = nullptr;
  if (result) *result = cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}

// ---- memory

EXPORTED cudaError_t cudaMemGetInfo(size_t* free, size_t* all) {
  const std::lock_guard lock(gpu().mutex);
  *free = device_bytes() - static_cast<size_t>(gpu().counts.used);
  *all = device_bytes();
  return cudaSuccess;
}
EXPORTED cudaError_t cudaMalloc(void** address, size_t bytes) {
  const std::lock_guard lock(gpu().mutex);
  FakeGpuCounts& counts = gpu().counts;
  ++counts.mallocs;
  *address = nullptr;
  if (static_cast<size_t>(counts.used) + bytes > device_bytes()) return cudaErrorMemoryAllocation;
  const size_t whole = (bytes + page - 1) / page * page;
  void* place = mmap(nullptr, whole + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (place == MAP_FAILED) return cudaErrorMemoryAllocation;
  const uintptr_t aligned = (reinterpret_cast<uintptr_t>(place) + page - 1) / page * page;
  *address = reinterpret_cast<void*>(aligned);
  gpu().memory[aligned] = bytes;
  counts.used += static_cast<long>(bytes);
  counts.peak = std::max(counts.peak, counts.used);
  return cudaSuccess;
}
EXPORTED cudaError_t cudaFree(void* address) {  // its place is not used again: whoever touches it late faults
  const std::lock_guard lock(gpu().mutex);
  const auto found = gpu().memory.find(reinterpret_cast<uintptr_t>(address));
  if (found == gpu().memory.end()) return cudaSuccess;
  gpu().counts.used -= static_cast<long>(found->second);
  gpu().memory.erase(found);
  return cudaSuccess;
}
EXPORTED cudaError_t cudaMallocAsync(void** address, size_t bytes, cudaStream_t) {
  return cudaMalloc(address, bytes);
}
EXPORTED cudaError_t cudaFreeAsync(void* address, cudaStream_t) {
  return cudaFree(address);
}
EXPORTED cudaError_t cudaHostAlloc(void** address, size_t bytes, unsigned) {
  return posix_memalign(address, 4096, bytes) ? cudaErrorMemoryAllocation : cudaSuccess;
}
EXPORTED cudaError_t cudaMallocHost(void** address, size_t bytes) {
  return cudaHostAlloc(address, bytes, 0);
}
EXPORTED cudaError_t cudaFreeHost(void* address) {
  std::free(address);
  return cudaSuccess;
}
EXPORTED cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  const std::lock_guard lock(gpu().mutex);
  *attributes = {};
  attributes->type = gpu().holds(address) ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered;
  attributes->devicePointer = const_cast<void*>(address);
  return cudaSuccess;
}
EXPORTED cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                                     cudaStream_t) {
  return copy(to, from, bytes, kind);
}
EXPORTED cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  synchronized();
  return copy(to, from, bytes, kind);
}
EXPORTED cudaError_t cudaMemcpyPeerAsync(void*, int, const void*, int, size_t, cudaStream_t) {
  return cudaSuccess;
}
EXPORTED cudaError_t cudaMemcpyToSymbol(const void*, const void*, size_t, size_t, cudaMemcpyKind) {
  return cudaSuccess;
}
EXPORTED cudaError_t cudaMemset(void*, int, size_t) {
  return cudaSuccess;
}
EXPORTED cudaError_t cudaMemsetAsync(void* address, int, size_t, cudaStream_t) {
  const std::lock_guard lock(gpu().mutex);
  return gpu().holds(address) ? cudaSuccess : cudaErrorInvalidValue;
}

// ---- streams and events

EXPORTED cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  *stream = static_cast<cudaStream_t>(new_handle());
  return cudaSuccess;
}
EXPORTED cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return cudaStreamCreateWithPriority(stream, 0, 0);
}
EXPORTED cudaError_t cudaStreamDestroy(cudaStream_t) {
  return cudaSuccess;
}
EXPORTED cudaError_t cudaStreamQuery(cudaStream_t) {
  return cudaSuccess;
}
EXPORTED cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return synchronized();
}
EXPORTED cudaError_t cudaDeviceSynchronize() {
  return synchronized();
}
EXPORTED cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
  return cudaSuccess;
}
EXPORTED cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
EXPORTED cudaError_t cudaStreamGetCaptureInfo(cudaStream_t, cudaStreamCaptureStatus* status,
                                              unsigned long long* id, cudaGraph_t*, const cudaGraphNode_t**,
                                              const cudaGraphEdgeData**, size_t*) {
  *status = cudaStreamCaptureStatusNone;
  if (id) *id = 0;
  return cudaSuccess;
}
EXPORTED cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode*) {
  return cudaSuccess;
}
EXPORTED cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = static_cast<cudaEvent_t>(new_handle());
  return cudaSuccess;
}
EXPORTED cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, 0);
}
EXPORTED cudaError_t cudaEventDestroy(cudaEvent_t) {
  return cudaSuccess;
}
EXPORTED cudaError_t cudaEventQuery(cudaEvent_t) {
  return cudaSuccess;
}
EXPORTED cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) {
  return cudaSuccess;
}
EXPORTED cudaError_t cudaEventRecordWithFlags(cudaEvent_t, cudaStream_t, unsigned) {
  return cudaSuccess;
}
EXPORTED cudaError_t cudaEventSynchronize(cudaEvent_t) {
  return synchronized();
}
EXPORTED cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 0;
  return cudaSuccess;
}

// ---- cuBLAS and cuDNN

EXPORTED int cublasCreate_v2(void** handle) {
  *handle = new_handle();
  return 0;
}
EXPORTED int cublasLtCreate(void** handle) {
  return cublasCreate_v2(handle);
}
EXPORTED int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int, void*,
                                            int* found) {
  *found = 1;
  return 0;
}
EXPORTED int cublasLtMatmul() {
  return product("cublasLtMatmul");
}
EXPORTED int cublasGemmEx() {
  return product("cublasGemmEx");
}
EXPORTED int cublasGemmStridedBatchedEx() {
  return product("cublasGemmStridedBatchedEx");
}
EXPORTED int cublasSgemm_v2() {
  return product("cublasSgemm");
}
EXPORTED int cublasSgemmStridedBatched() {
  return product("cublasSgemmStridedBatched");
}
EXPORTED int cublasSgemv_v2() {
  return product("cublasSgemv");
}
EXPORTED int cublasDgemm_v2() {
  return product("cublasDgemm");
}
EXPORTED size_t cudnnGetVersion() {
  return 91900;
}
EXPORTED size_t cudnnGetCudartVersion() {
  return 13000;
}
EXPORTED int cudnnCreate(void** handle) {
  return cublasCreate_v2(handle);
}
EXPORTED const char* cudnnGetErrorString(int) {
  return "fake cuDNN";
}

// ---- the driver, as kernels/cuda_driver.cpp and GStreamer's library use it

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
