// SPDX-License-Identifier: LGPL-2.1-or-later
// Memory and copies.
#include <sys/mman.h>

#include <cstdlib>

#include "gpu.h"

using namespace fake_gpu;

constexpr size_t page = 0x200000;

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
