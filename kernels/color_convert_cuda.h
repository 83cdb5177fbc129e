/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * color_convert.h on an NVIDIA GPU. In a module of its own, libflowcache-kernels-cuda.so, which is opened
 * when a model runs on a GPU; built where nvcc is.
 */
#ifndef FLOWCACHE_COLOR_CONVERT_CUDA_H
#define FLOWCACHE_COLOR_CONVERT_CUDA_H

#include "flowcache.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FC_CUDA_KERNELS_MODULE "libflowcache-kernels-cuda.so"

/* frame: [3, height, width] fp32 in the current context, contiguous, R'G'B' in 0..1. planes: FC_MEMORY_CUDA
 * of the same context, checked by the caller as color_convert() does. stream: a cudaStream_t to run on; NULL:
 * one of the module's own, which waits for nothing, so that a frame need not wait for the chunks that are
 * computed behind it: the frame must be finished. The call returns when the planes are written. Any thread.
 * 0, or a cudaError_t. */
typedef int (*fc_cuda_color_convert_function)(const float* frame, int width, int height,
                                              const fc_planes* planes, void* stream);
__attribute__((visibility("default"))) int fc_cuda_color_convert(const float* frame, int width, int height,
                                                                 const fc_planes* planes, void* stream);

#ifdef __cplusplus
}
#endif
#endif
