// SPDX-License-Identifier: LGPL-2.1-or-later
// CUDA graphs: what is noted, and how it runs.
#include "gpu.h"

using namespace fake_gpu;

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
