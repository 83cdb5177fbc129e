// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fake_memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "fake_cuda.h"

namespace fake_cuda {

Books& books() {
  static Books* all = new Books;  // GStreamer may free memory after static objects are gone
  return *all;
}

std::vector<CUcontext>& stack() {
  thread_local std::vector<CUcontext> contexts;
  return contexts;
}

CUresult misuse(CUresult error, const char* what) {
  Books& b = books();
  std::lock_guard lock(b.mutex);
  if (b.misuses++ == 0) b.first_misuse = what;
  return error;
}

CUcontext current(const char* call) {
  CUcontext top = stack().empty() ? nullptr : stack().back();
  bool alive = false;
  {
    std::lock_guard lock(books().mutex);
    alive = books().contexts.count(top) > 0;
  }
  if (alive) return top;
  misuse(CUDA_ERROR_INVALID_CONTEXT, (std::string(call) + " without a context").c_str());
  return nullptr;
}

CUresult allocate(void** pointer, size_t size, bool on_device, const char* call) {
  CUcontext context = current(call);
  if (context == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  if (books().fail_allocations) return CUDA_ERROR_OUT_OF_MEMORY;
  const size_t rounded = std::max<size_t>(512, (size + 511) / 512 * 512);
  void* memory = std::aligned_alloc(512, rounded);
  if (memory == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  std::memset(memory, 0xcd, rounded);  // device memory is not cleared
  std::lock_guard lock(books().mutex);
  books().allocations[reinterpret_cast<uintptr_t>(memory)] = {size, context, on_device};
  *pointer = memory;
  return CUDA_SUCCESS;
}

CUresult release(uintptr_t pointer, const char* call) {
  if (current(call) == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  {
    std::lock_guard lock(books().mutex);
    if (books().allocations.erase(pointer) > 0) {
      std::free(reinterpret_cast<void*>(pointer));
      return CUDA_SUCCESS;
    }
  }
  return misuse(CUDA_ERROR_INVALID_VALUE, (std::string(call) + " of memory that is not allocated").c_str());
}

const Allocation* allocation_at(uintptr_t pointer) {
  std::lock_guard lock(books().mutex);
  auto after = books().allocations.upper_bound(pointer);
  if (after == books().allocations.begin()) return nullptr;
  const auto& [start, allocation] = *std::prev(after);
  return pointer < start + allocation.size ? &allocation : nullptr;
}

size_t bytes_on_device() {
  std::lock_guard lock(books().mutex);
  size_t bytes = 0;
  for (const auto& [start, allocation] : books().allocations)
    bytes += allocation.on_device ? allocation.size : 0;
  return bytes;
}

bool is_on_device(uintptr_t pointer, size_t bytes) {
  std::lock_guard lock(books().mutex);
  auto after = books().allocations.upper_bound(pointer);
  if (after == books().allocations.begin()) return false;
  const auto& [start, allocation] = *std::prev(after);
  return allocation.on_device && pointer + bytes <= start + allocation.size;
}

}  // namespace fake_cuda

using fake_cuda::books;

extern "C" {

int fake_cuda_misuses() {
  return books().misuses;
}
const char* fake_cuda_first_misuse() {
  std::lock_guard lock(books().mutex);
  return books().first_misuse.c_str();
}
int fake_cuda_live_contexts() {
  std::lock_guard lock(books().mutex);
  return static_cast<int>(books().contexts.size());
}
int fake_cuda_live_allocations() {
  std::lock_guard lock(books().mutex);
  return static_cast<int>(books().allocations.size());
}
int fake_cuda_copies_to_device() {
  return books().to_device;
}
int fake_cuda_copies_on_device() {
  return books().on_device;
}
int fake_cuda_is_primary(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  if (!fake_cuda::is_on_device(address, 1)) return 0;
  std::lock_guard lock(books().mutex);
  return std::prev(books().allocations.upper_bound(address))->second.context == books().primary;
}
int fake_cuda_may_touch(const void* pointer, size_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  CUcontext context = fake_cuda::current("a kernel");
  if (!fake_cuda::gl_is_done_with(address)) {
    fake_cuda::misuse(CUDA_ERROR_ILLEGAL_STATE, "a kernel writes a buffer that OpenGL still reads");
    return 0;
  }
  if (context != nullptr && fake_cuda::is_on_device(address, bytes) &&
      fake_cuda::allocation_at(address)->context == context) {
    return 1;
  }
  fake_cuda::misuse(CUDA_ERROR_ILLEGAL_ADDRESS, "a kernel beyond the memory of its context");
  return 0;
}
void fake_cuda_fail_allocations(int fail) {
  books().fail_allocations = fail != 0;
}
}
