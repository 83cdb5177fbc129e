// SPDX-License-Identifier: LGPL-2.1-or-later
// What the files of the stand-in share: its state, and how kernels, copies and waits are counted.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "fake_gpu.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace fake_gpu {

// A variable of the environment.
long number(const char* variable, long fallback);

extern thread_local int current_device;

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

  ~Gpu();
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
    FakeGpuOperation one{kind, stream, event, to_host ? 1 : 0, current_device, {}};
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

Gpu& gpu();

// True in a thread that notes a graph.
extern thread_local bool notes_a_graph;

// While a thread notes a graph it must not wait or ask: nothing runs. True, with a word on standard error, if it does.
bool forbidden(const char* what);

void* new_handle();

template <typename Member>
void count(Member member) {
  const std::lock_guard lock(gpu().mutex);
  ++(gpu().counts.*member);
}

// The host waits. The mutex is held.
cudaError_t synchronized(FakeGpuKind kind, void* stream, void* event, double moment);
cudaError_t launch(const void* function, dim3 grid, dim3 block, void* stream);
// A matrix product on a stream, or on that of a handle of cuBLAS.
int product_on(void* stream, const char* name);
int product(void* handle, const char* name);
cudaError_t copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, void* stream);

// ---- the device, as large as an H100 unless the environment says otherwise
int devices();
size_t device_bytes();
int driver_version();

}  // namespace fake_gpu
