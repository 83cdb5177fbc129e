// SPDX-License-Identifier: LGPL-2.1-or-later
// cuBLAS and cuDNN.
#include "gpu.h"

using namespace fake_gpu;

EXPORTED int cublasCreate_v2(void** handle) {
  *handle = new_handle();
  return 0;
}
EXPORTED int cublasLtCreate(void** handle) {
  return cublasCreate_v2(handle);
}
EXPORTED int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int, void*,
                                            int* found) {
  *found = 1;
  return 0;
}
EXPORTED int cublasSetStream_v2(void* handle, void* stream) {
  const std::lock_guard lock(gpu().mutex);
  gpu().cublas_stream[handle] = stream;
  return 0;
}
EXPORTED size_t cublasLtGetVersion() {  // older ones have no scale for each row
  return 130000;
}
EXPORTED int cublasSetMathMode(void* handle, int mode) {
  const std::lock_guard lock(gpu().mutex);
  gpu().cublas_math[handle] = mode;
  return 0;
}
EXPORTED int cublasLtMatmulDescCreate(void** description, int compute, int) {
  *description = new_handle();
  constexpr int tf32 = 77;  // CUBLAS_COMPUTE_32F_FAST_TF32
  const std::lock_guard lock(gpu().mutex);
  gpu().counts.tf32 += compute == tf32;
  return 0;
}
EXPORTED int cublasLtMatmul(void*, void*, const void*, const void*, void*, const void*, void*, const void*,
                            const void*, void*, void*, void*, const void*, void*, size_t, void* stream) {
  return product_on(stream, "cublasLtMatmul");
}
EXPORTED int cublasGemmEx(void* handle) {
  return product(handle, "cublasGemmEx");
}
EXPORTED int cublasGemmStridedBatchedEx(void* handle) {
  return product(handle, "cublasGemmStridedBatchedEx");
}
EXPORTED int cublasSgemm_v2(void* handle) {
  return product(handle, "cublasSgemm");
}
EXPORTED int cublasSgemmStridedBatched(void* handle) {
  return product(handle, "cublasSgemmStridedBatched");
}
EXPORTED int cublasSgemv_v2(void* handle) {
  return product(handle, "cublasSgemv");
}
EXPORTED int cublasDgemm_v2(void* handle) {
  return product(handle, "cublasDgemm");
}
EXPORTED size_t cudnnGetVersion() {
  return 91900;
}
EXPORTED size_t cudnnGetCudartVersion() {
  return 13000;
}
EXPORTED int cudnnCreate(void** handle) {
  return cublasCreate_v2(handle);
}
EXPORTED const char* cudnnGetErrorString(int) {
  return "fake cuDNN";
}
