// SPDX-License-Identifier: LGPL-2.1-or-later
// The stand-in driver's books: contexts, allocations, misuse.
#pragma once

#include <cuda.h>

#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace fake_cuda {

struct Allocation {
  size_t size;
  CUcontext context;
  bool on_device;
};

struct Books {
  std::mutex mutex;
  // ---- under `mutex`
  std::set<CUcontext> contexts;
  std::map<uintptr_t, Allocation> allocations;
  CUcontext primary = nullptr;
  int primary_references = 0, made = 0;
  std::string first_misuse;

  std::atomic<int> misuses{0}, to_device{0}, on_device{0};
  std::atomic<bool> fail_allocations{false};
};
Books& books();

// The calling thread's stack of contexts.
std::vector<CUcontext>& stack();

// Counts a misuse and returns the error.
CUresult misuse(CUresult error, const char* what);
// The current context; null, and a misuse, if there is none or it is gone.
CUcontext current(const char* call);

CUresult allocate(void** pointer, size_t size, bool on_device, const char* call);
CUresult release(uintptr_t pointer, const char* call);
// The allocation that holds this byte; null if none does. Valid until it is released.
const Allocation* allocation_at(uintptr_t pointer);
size_t bytes_on_device();
// Whether this many bytes from here on are inside one allocation on the device.
bool is_on_device(uintptr_t pointer, size_t bytes);

// OpenGL buffers (fake_gl.cpp): whether these bytes may be written now. They may not from the mapping of a buffer until
// the stream that it was mapped on has been waited for.
bool gl_is_done_with(uintptr_t pointer);
// `stream` has been waited for.
void gl_waited_for(CUstream stream);

}  // namespace fake_cuda
