// SPDX-License-Identifier: LGPL-2.1-or-later
#include "graphs/cuda_graph.h"

#include <ATen/cuda/CUDAGraph.h>

#include <cstdio>
#include <memory>

namespace {

template <typename Work>
int told(char* error, size_t room, const Work& work) {
  try {
    work();
    return 0;
  } catch (const c10::Error& failure) {
    std::snprintf(error, room, "%s", failure.what_without_backtrace());
  } catch (const std::exception& failure) {
    std::snprintf(error, room, "%s", failure.what());
  }
  return 1;
}

int begin(uint64_t pool[2], void** graph, char* error, size_t room) {
  *graph = nullptr;
  return told(error, room, [&] {
    auto made = std::make_unique<at::cuda::CUDAGraph>();
    at::cuda::CUDAGraph& one = *made;
    *graph = made.release();
    if (pool[0] == 0 && pool[1] == 0) {
      const auto made_pool = at::cuda::graph_pool_handle();
      pool[0] = made_pool.first;
      pool[1] = made_pool.second;
    }
    // Other threads may go on with what they do on other streams.
    one.capture_begin({pool[0], pool[1]}, cudaStreamCaptureModeThreadLocal);
  });
}

int end(void* graph, char* error, size_t room) {
  return told(error, room, [&] { static_cast<at::cuda::CUDAGraph*>(graph)->capture_end(); });
}

int run(void* graph, char* error, size_t room) {
  return told(error, room, [&] { static_cast<at::cuda::CUDAGraph*>(graph)->replay(); });
}

void free_graph(void* graph) {
  delete static_cast<at::cuda::CUDAGraph*>(graph);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const fc_cuda_graph_functions* fc_cuda_graphs(void) {
  static const fc_cuda_graph_functions functions = {begin, end, run, free_graph};
  return &functions;
}
