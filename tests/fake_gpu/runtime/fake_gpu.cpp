// SPDX-License-Identifier: LGPL-2.1-or-later
// NVIDIA's libraries without a GPU, below the real libtorch_cuda.so: the engine runs with device=cuda as it is.
// Everything that the host does is real: dispatch, checks of devices, types and strides, the caching allocator,
// streams, events. Kernels are counted and not run. Device memory is reserved without access, so that the host
// faults when it touches it, as on a GPU. A copy to the host gives zeros; a single byte, which is a bool, gives 1.
//
// Time: each stream has a clock that every kernel and copy moves on. An event is reached for the host once the host has
// waited for something that comes after it.
#include "fake_gpu.h"

#include <cuda_runtime_api.h>
#include <execinfo.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
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
  double launch_seconds = 1e-5;
  double host = 0;                       // what the host has waited for
  std::map<void*, double> streams;       // when all that a stream has been given is done
  std::map<void*, double> events;        // when they are reached
  std::map<void*, void*> cublas_stream;  // by handle
  std::map<void*, int> cublas_math;
  std::map<void*, long> noting;  // streams that note a graph, and how much it has until now
  std::map<void*, long> graphs;  // graphs, and how many kernels they have
  bool notes = false;
  std::vector<FakeGpuOperation> noted;
  std::atomic<void (*)()> on_launch{nullptr};

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
  // These three are called with the mutex held.
  void note(FakeGpuKind kind, void* stream, void* event = nullptr, bool to_host = false,
            const char* name = "") {
    if (!notes) return;
    FakeGpuOperation one{kind, stream, event, to_host ? 1 : 0, {}};
    std::snprintf(one.name, sizeof one.name, "%s", name);
    noted.push_back(one);
  }
  void work(void* stream) {
    double& clock = streams[stream];
    clock = std::max(clock, host) + launch_seconds;
  }
  // True if the work becomes part of a graph and does not run.
  bool noted_for_graph(void* stream) {
    const auto found = noting.find(stream);
    if (found == noting.end()) return false;
    ++found->second;
    ++counts.noted;
    return true;
  }
  void waited_for(double moment) { host = std::max(host, moment); }
};

// Kernels are registered before the constructors of this file run, and used until after its destructors.
Gpu& gpu() {
  static Gpu one;
  return one;
}

thread_local int current_device = 0;
thread_local bool notes_a_graph = false;

void print_place() {
  void* frames[40];
  backtrace_symbols_fd(frames, backtrace(frames, 40), 2);
}

// While a thread notes a graph it must not wait or ask: nothing runs.
bool forbidden(const char* what) {
  if (!notes_a_graph) return false;
  ++gpu().counts.forbidden;
  std::fprintf(stderr, "fake GPU: %s while a graph is noted\n", what);
  print_place();
  return true;
}

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

// The host waits. The mutex is held.
cudaError_t synchronized(FakeGpuKind kind, void* stream, void* event, double moment) {
  if (forbidden("a wait")) return cudaErrorStreamCaptureUnsupported;
  ++gpu().counts.syncs;
  gpu().waited_for(moment);
  gpu().note(kind, stream, event);
  if (number("FAKE_GPU_SYNCS", 0) == 0) return cudaSuccess;
  std::fprintf(stderr, "the host waits:\n");
  print_place();
  return cudaSuccess;
}

cudaError_t launch(const void* function, dim3 grid, dim3 block, void* stream) {
  if (const auto told = gpu().on_launch.load()) told();
  const std::lock_guard lock(gpu().mutex);
  if (gpu().noted_for_graph(stream)) return cudaSuccess;
  gpu().work(stream);
  ++gpu().counts.launches;
  const auto found = gpu().names.find(function);
  const std::string name = found == gpu().names.end() ? "unknown" : found->second;
  ++gpu().launched[name];
  gpu().note(FAKE_GPU_LAUNCH, stream, nullptr, false, name.c_str());
  const unsigned threads = block.x * block.y * block.z;
  if (grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.y <= 65535 && grid.z <= 65535 && threads > 0 &&
      threads <= 1024)
    return cudaSuccess;
  std::fprintf(stderr, "fake GPU: %s launched with grid %u, %u, %u and block %u, %u, %u\n", name.c_str(),
               grid.x, grid.y, grid.z, block.x, block.y, block.z);
  return cudaErrorInvalidConfiguration;
}

int product_on(void* stream, const char* name) {
  if (const auto told = gpu().on_launch.load()) told();
  const std::lock_guard lock(gpu().mutex);
  if (gpu().noted_for_graph(stream)) return 0;
  ++gpu().counts.launches;
  ++gpu().launched[name];
  gpu().work(stream);
  gpu().note(FAKE_GPU_LAUNCH, stream, nullptr, false, name);
  return 0;
}

int product(void* handle, const char* name) {
  void* stream;
  {
    const std::lock_guard lock(gpu().mutex);
    stream = gpu().cublas_stream[handle];
    constexpr int tf32 = 3;  // CUBLAS_TF32_TENSOR_OP_MATH
    gpu().counts.tf32 += gpu().cublas_math[handle] == tf32;
  }
  return product_on(stream, name);
}

cudaError_t copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, void* stream) {
  const std::lock_guard lock(gpu().mutex);
  FakeGpuCounts& counts = gpu().counts;
  const bool to_device = gpu().holds(to), from_device = gpu().holds(from);
  const bool wrong = (kind == cudaMemcpyHostToDevice && (!to_device || from_device)) ||
                     (kind == cudaMemcpyDeviceToHost && (to_device || !from_device));
  if (wrong) {
    std::fprintf(stderr, "fake GPU: a copy between other memories than it says\n");
    return cudaErrorInvalidValue;
  }
  // Host memory is used for something else by the time the graph runs.
  if (gpu().noting.contains(stream) && !(to_device && from_device) && forbidden("a copy from or to the host"))
    return cudaErrorStreamCaptureUnsupported;
  if (gpu().noted_for_graph(stream)) return cudaSuccess;
  if (to_device || from_device) {
    gpu().work(stream);
    gpu().note(FAKE_GPU_COPY, stream, nullptr, from_device && !to_device);
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

EXPORTED void fake_gpu_count_launch(const char* name, void* stream) {
  product_on(stream, name);
}

EXPORTED void fake_gpu_restart_peak(void) {
  const std::lock_guard lock(gpu().mutex);
  gpu().counts.peak = gpu().counts.used;
}

EXPORTED void fake_gpu_note(int on) {
  const std::lock_guard lock(gpu().mutex);
  gpu().notes = on != 0;
  gpu().noted.clear();
}

EXPORTED long fake_gpu_operations(FakeGpuOperation* operations, long first, long most) {
  const std::lock_guard lock(gpu().mutex);
  const auto count = static_cast<long>(gpu().noted.size());
  for (long i = first; i < std::min(count, first + most); ++i)
    operations[i - first] = gpu().noted[static_cast<size_t>(i)];
  return count;
}

EXPORTED void fake_gpu_launch_seconds(double seconds) {
  const std::lock_guard lock(gpu().mutex);
  gpu().launch_seconds = seconds;
}

EXPORTED void fake_gpu_on_launch(void (*function)()) {
  gpu().on_launch = function;
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
                                        cudaStream_t stream) {
  return launch(kernel, grid, block, stream);
}
EXPORTED cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void**, size_t,
                                      cudaStream_t stream) {
  return launch(function, grid, block, stream);
}
EXPORTED cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void**) {
  return launch(function, config->gridDim, config->blockDim, config->stream);
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
static int capability() {  // ten times it
  return static_cast<int>(number("FAKE_GPU_CAPABILITY", 90));
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
  p->major = capability() / 10;
  p->minor = capability() % 10;
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
  const std::map<cudaDeviceAttr, int> values = {{cudaDevAttrComputeCapabilityMajor, capability() / 10},
                                                {cudaDevAttrComputeCapabilityMinor, capability() % 10},
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
                                     cudaStream_t stream) {
  return copy(to, from, bytes, kind, stream);
}
EXPORTED cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const cudaError_t done = copy(to, from, bytes, kind, nullptr);
  cudaStreamSynchronize(nullptr);
  return done;
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
EXPORTED cudaError_t cudaMemsetAsync(void* address, int, size_t, cudaStream_t stream) {
  const std::lock_guard lock(gpu().mutex);
  if (gpu().noted_for_graph(stream)) return cudaSuccess;
  gpu().work(stream);
  gpu().note(FAKE_GPU_SET, stream);
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
EXPORTED cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const std::lock_guard lock(gpu().mutex);
  return gpu().streams[stream] <= gpu().host ? cudaSuccess : cudaErrorNotReady;
}
EXPORTED cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const std::lock_guard lock(gpu().mutex);
  return synchronized(FAKE_GPU_SYNC_STREAM, stream, nullptr, gpu().streams[stream]);
}
EXPORTED cudaError_t cudaDeviceSynchronize() {
  const std::lock_guard lock(gpu().mutex);
  double last = 0;
  for (const auto& [stream, clock] : gpu().streams) last = std::max(last, clock);
  return synchronized(FAKE_GPU_SYNC_DEVICE, nullptr, nullptr, last);
}
EXPORTED cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const std::lock_guard lock(gpu().mutex);
  double& clock = gpu().streams[stream];
  clock = std::max(clock, gpu().events[event]);
  gpu().note(FAKE_GPU_WAIT, stream, event);
  return cudaSuccess;
}
EXPORTED cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const std::lock_guard lock(gpu().mutex);
  *status = gpu().noting.contains(stream) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
EXPORTED cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status,
                                              unsigned long long* id, cudaGraph_t*, const cudaGraphNode_t**,
                                              const cudaGraphEdgeData**, size_t*) {
  cudaStreamIsCapturing(stream, status);
  if (id) *id = *status == cudaStreamCaptureStatusActive ? reinterpret_cast<uintptr_t>(stream) : 0;
  return cudaSuccess;
}
EXPORTED cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (!stream) return cudaErrorStreamCaptureUnsupported;
  const std::lock_guard lock(gpu().mutex);
  gpu().noting[stream] = 0;
  notes_a_graph = true;
  return cudaSuccess;
}
EXPORTED cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = static_cast<cudaGraph_t>(new_handle());
  const std::lock_guard lock(gpu().mutex);
  notes_a_graph = false;
  const auto found = gpu().noting.find(stream);
  if (found == gpu().noting.end()) return cudaErrorIllegalState;
  gpu().graphs[*graph] = found->second;
  gpu().noting.erase(found);
  return cudaSuccess;
}
EXPORTED cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* count) {
  const std::lock_guard lock(gpu().mutex);
  *count = static_cast<size_t>(gpu().graphs[graph]);
  return cudaSuccess;
}
EXPORTED cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* made, cudaGraph_t graph,
                                                   unsigned long long) {
  *made = static_cast<cudaGraphExec_t>(new_handle());
  const std::lock_guard lock(gpu().mutex);
  gpu().graphs[*made] = gpu().graphs[graph];
  return cudaSuccess;
}
EXPORTED cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  const std::lock_guard lock(gpu().mutex);
  gpu().graphs.erase(graph);
  return cudaSuccess;
}
EXPORTED cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  const std::lock_guard lock(gpu().mutex);
  gpu().graphs.erase(graph);
  return cudaSuccess;
}
EXPORTED cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  const std::lock_guard lock(gpu().mutex);
  const auto found = gpu().graphs.find(graph);
  if (found == gpu().graphs.end()) return cudaErrorInvalidValue;
  ++gpu().counts.launches;
  ++gpu().counts.graphs_run;
  for (long i = 0; i < found->second; ++i) gpu().work(stream);
  gpu().note(FAKE_GPU_LAUNCH, stream, nullptr, false, "a graph");
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
EXPORTED cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const std::lock_guard lock(gpu().mutex);
  gpu().events.erase(event);
  return cudaSuccess;
}
EXPORTED cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::lock_guard lock(gpu().mutex);
  if (forbidden("a question")) return cudaErrorStreamCaptureUnsupported;
  return gpu().events[event] <= gpu().host ? cudaSuccess : cudaErrorNotReady;
}
EXPORTED cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::lock_guard lock(gpu().mutex);
  gpu().events[event] = std::max(gpu().streams[stream], gpu().host);
  gpu().note(FAKE_GPU_RECORD, stream, event);
  return cudaSuccess;
}
EXPORTED cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  return cudaEventRecord(event, stream);
}
EXPORTED cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const std::lock_guard lock(gpu().mutex);
  return synchronized(FAKE_GPU_SYNC_EVENT, nullptr, event, gpu().events[event]);
}
EXPORTED cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  const std::lock_guard lock(gpu().mutex);
  *milliseconds = static_cast<float>(1000 * (gpu().events[end] - gpu().events[begin]));
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
EXPORTED int cublasSetStream_v2(void* handle, void* stream) {
  const std::lock_guard lock(gpu().mutex);
  gpu().cublas_stream[handle] = stream;
  return 0;
}
EXPORTED size_t cublasLtGetVersion() {  // older ones have no scale for each row
  return 130000;
}
EXPORTED int cublasSetMathMode(void* handle, int mode) {
  const std::lock_guard lock(gpu().mutex);
  gpu().cublas_math[handle] = mode;
  return 0;
}
EXPORTED int cublasLtMatmulDescCreate(void** description, int compute, int) {
  *description = new_handle();
  constexpr int tf32 = 77;  // CUBLAS_COMPUTE_32F_FAST_TF32
  const std::lock_guard lock(gpu().mutex);
  gpu().counts.tf32 += compute == tf32;
  return 0;
}
EXPORTED int cublasLtMatmul(void*, void*, const void*, const void*, void*, const void*, void*, const void*,
                            const void*, void*, void*, void*, const void*, void*, size_t, void* stream) {
  return product_on(stream, "cublasLtMatmul");
}
EXPORTED int cublasGemmEx(void* handle) {
  return product(handle, "cublasGemmEx");
}
EXPORTED int cublasGemmStridedBatchedEx(void* handle) {
  return product(handle, "cublasGemmStridedBatchedEx");
}
EXPORTED int cublasSgemm_v2(void* handle) {
  return product(handle, "cublasSgemm");
}
EXPORTED int cublasSgemmStridedBatched(void* handle) {
  return product(handle, "cublasSgemmStridedBatched");
}
EXPORTED int cublasSgemv_v2(void* handle) {
  return product(handle, "cublasSgemv");
}
EXPORTED int cublasDgemm_v2(void* handle) {
  return product(handle, "cublasDgemm");
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
