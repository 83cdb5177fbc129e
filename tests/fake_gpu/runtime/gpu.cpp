// SPDX-License-Identifier: LGPL-2.1-or-later
// NVIDIA's libraries without a GPU, below the real libtorch_cuda.so: the engine runs with device=cuda as it is.
// Everything that the host does is real: dispatch, checks of devices, types and strides, the caching allocator,
// streams, events. Kernels are counted and not run. Device memory is reserved without access, so that the host
// faults when it touches it, as on a GPU. A copy to the host gives zeros; a single byte, which is a bool, gives 1.
//
// Time: each stream has a clock that every kernel and copy moves on. An event is reached for the host once the host has
// waited for something that comes after it.
#include "gpu.h"

#include <execinfo.h>

#include <cstdlib>
#include <cstring>

namespace fake_gpu {

long number(const char* variable, long fallback) {
  const char* text = std::getenv(variable);
  return text ? static_cast<long>(std::strtod(text, nullptr)) : fallback;
}

Gpu::~Gpu() {
  std::vector<std::pair<long, std::string>> sorted;
  for (const auto& [name, count] : launched) sorted.emplace_back(count, name);
  std::sort(sorted.rbegin(), sorted.rend());
  const auto most = static_cast<size_t>(number("FAKE_GPU_KERNELS", 0));
  for (size_t i = 0; i < std::min(most, sorted.size()); ++i)
    std::fprintf(stderr, "%8ld %.150s\n", sorted[i].first, sorted[i].second.c_str());
}

// Kernels are registered before the constructors of this file run, and used until after its destructors.
Gpu& gpu() {
  static Gpu one;
  return one;
}

thread_local bool notes_a_graph = false;

namespace {

void print_place() {
  void* frames[40];
  backtrace_symbols_fd(frames, backtrace(frames, 40), 2);
}

}  // namespace

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

}  // namespace fake_gpu

using namespace fake_gpu;

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
