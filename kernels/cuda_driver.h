// SPDX-License-Identifier: LGPL-2.1-or-later
// The few functions of NVIDIA's driver that planes in CUDA memory need. They are found at run time, so the
// same build runs on machines without a driver and needs no header of the CUDA toolkit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace flowcache {

// CUDA_MEMCPY2D of cuda.h. Its layout is part of the driver's binary interface.
struct CudaCopy2d {
  size_t source_x = 0, source_y = 0;
  int source_memory = 0;
  const void* source_host = nullptr;
  uint64_t source_device = 0;
  void* source_array = nullptr;
  size_t source_pitch = 0;
  size_t target_x = 0, target_y = 0;
  int target_memory = 0;
  void* target_host = nullptr;
  uint64_t target_device = 0;
  void* target_array = nullptr;
  size_t target_pitch = 0;
  size_t width_bytes = 0, height = 0;
};

// The driver's functions. Those that return int return a CUresult; 0 means success.
struct CudaDriver {
  int (*init)(unsigned flags);
  int (*error_name)(int error, const char** name);
  int (*pointer_attribute)(void* value, int attribute, uint64_t pointer);
  int (*retain_primary_context)(void** context, int device);
  int (*push_context)(void* context);
  int (*pop_context)(void** context);
  int (*copy_2d)(const CudaCopy2d* copy);

  // The driver, opened at the first call. Throws FC_ERROR_DEVICE with the reason if there
  // is none. Any thread.
  static const CudaDriver& get();

  // The name of a CUresult, such as "CUDA_ERROR_INVALID_VALUE", or its number.
  std::string name_of(int error) const;
  // The context that device memory belongs to: the one that it was allocated in, or the primary context of
  // its device if the driver knows no context for it. Null if `pointer` is no device memory.
  void* context_of(const void* pointer) const;
};

// Makes a context current on the calling thread for as long as this object lives. Throws
// FC_ERROR_DEVICE if that fails.
class CurrentCudaContext {
 public:
  CurrentCudaContext(const CudaDriver& driver, void* context);
  ~CurrentCudaContext() { driver_.pop_context(nullptr); }
  CurrentCudaContext(const CurrentCudaContext&) = delete;
  CurrentCudaContext& operator=(const CurrentCudaContext&) = delete;

 private:
  const CudaDriver& driver_;
};

}  // namespace flowcache
