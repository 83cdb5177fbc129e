/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * color_convert.h on an NVIDIA GPU, in the module of cuda_module.h.
 */
#ifndef FLOWCACHE_COLOR_CONVERT_CUDA_H
#define FLOWCACHE_COLOR_CONVERT_CUDA_H

#include "flowcache.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FC_CUDA_KERNELS_MODULE "libflowcache-kernels-cuda.so"

/* Writes a frame into planes. frame: [3, height, width] fp32, contiguous, R'G'B' in 0..1, in the current
 * context; finished, because nothing waits for it. planes: FC_MEMORY_CUDA of the same context; the caller has
 * checked them as color_convert() does. stream: the cudaStream_t to run on; NULL: one of the module's own, so
 * that a frame need not wait for chunks that are computed meanwhile. Returns 0, or a cudaError_t, when the
 * planes are written. Any thread. */
typedef int (*fc_cuda_color_convert_function)(const float* frame, int width, int height,
                                              const fc_planes* planes, void* stream);
__attribute__((visibility("default"))) int fc_cuda_color_convert(const float* frame, int width, int height,
                                                                 const fc_planes* planes, void* stream);

/* The reverse: reads planes, which are finished, into a frame as above. It runs on `stream`, where the frame's memory was
 * allocated. Returns 0, or a cudaError_t, when the planes are read. Any thread. */
typedef int (*fc_cuda_color_read_function)(const fc_planes* planes, int width, int height, float* frame,
                                           void* stream);
__attribute__((visibility("default"))) int fc_cuda_color_read(const fc_planes* planes, int width, int height,
                                                              float* frame, void* stream);

#ifdef __cplusplus
}
#endif
#endif
