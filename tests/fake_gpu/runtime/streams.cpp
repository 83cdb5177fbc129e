// SPDX-License-Identifier: LGPL-2.1-or-later
// Streams and events.
#include "gpu.h"

using namespace fake_gpu;

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
  if (gpu().events[event] <= gpu().host) return cudaSuccess;
  static const bool takes_time = number("FAKE_GPU_ASKING", 0) != 0;
  if (takes_time) gpu().host += 1e-6;
  return cudaErrorNotReady;
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
