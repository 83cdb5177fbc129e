// SPDX-License-Identifier: LGPL-2.1-or-later
// Devices and versions.
#include <cstring>

#include "gpu.h"

using namespace fake_gpu;

namespace fake_gpu {

thread_local int current_device = 0;

int devices() {
  return static_cast<int>(number("FAKE_GPU_DEVICES", 1));
}
size_t device_bytes() {
  return static_cast<size_t>(number("FAKE_GPU_BYTES", 80'000'000'000));
}
int driver_version() {
  return static_cast<int>(number("FAKE_GPU_DRIVER", 13000));
}

}  // namespace fake_gpu

namespace {

int capability() {  // ten times it
  return static_cast<int>(number("FAKE_GPU_CAPABILITY", 90));
}
int runtime_version() {
  return static_cast<int>(number("FAKE_GPU_RUNTIME", 13000));
}

}  // namespace

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
EXPORTED cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int index) {
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
  p->pciBusID = index;
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
