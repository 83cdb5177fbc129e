/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The C interface of libflowcache-kernels-cuda.so: what LibTorch takes several kernels for, in one. The module is
 * built where nvcc is found (meson.build) and opened when a model runs on a GPU (cuda_kernels.h). Each function
 * does the arithmetic of the CPU's kernel of the same name, with sums in fp32 (relative_l1: double).
 *
 * All functions: pointers are of the current device, in its primary context. `stream` is a cudaStream_t; they
 * return when the work is queued there, with 0 or a cudaError_t. They allocate nothing, never wait, and may be
 * recorded in a CUDA graph. Numbers are fp32, or bf16 where a field says so. Strides count elements. Rows of
 * a tensor are contiguous in themselves. Any thread.
 *
 * Compiled for compute capability 7.5 to 9.0, newer ones by PTX. No GPU has run them yet: their arithmetic is
 * tested on the host (tests/unit/cuda_on_host.h), their launches on a GPU that is not there (tests/fake_gpu).
 */
#ifndef FLOWCACHE_CUDA_MODULE_H
#define FLOWCACHE_CUDA_MODULE_H

#include <stdint.h>

#include "color_convert_cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FC_CUDA_EXPORT __attribute__((visibility("default")))

/* To be raised with every change of this file or of color_convert_cuda.h. A module of another version is refused. */
#define FC_CUDA_KERNELS_VERSION 3
typedef int (*fc_cuda_kernels_version_function)(void);
FC_CUDA_EXPORT int fc_cuda_kernels_version(void);

/* Row r uses row (first_row + r) / rows_per_group of a table. */
struct fc_cuda_groups {
  int64_t first_row, rows_per_group;
};

/* norm_modulate.h: out = (x - mean) / sqrt(variance + eps) * multiplier + offset. */
struct fc_cuda_norm_modulate_args {
  int64_t rows, dim;
  const float* x;
  int64_t x_stride;
  const float* multiplier; /* of strides 0 if all rows use the first */
  int64_t multiplier_stride;
  const float* offset;
  int64_t offset_stride;
  struct fc_cuda_groups groups;
  float eps;
  void* out; /* [rows, dim], contiguous */
  int out_is_bf16;
};
typedef int (*fc_cuda_norm_modulate_function)(const struct fc_cuda_norm_modulate_args* args, void* stream);
FC_CUDA_EXPORT int fc_cuda_norm_modulate(const struct fc_cuda_norm_modulate_args* args, void* stream);

/* norm_modulate.h: x += y * gate, or x += y with gate NULL. */
struct fc_cuda_gated_add_args {
  int64_t rows, dim;
  float* x;
  int64_t x_stride;
  const void* y;
  int64_t y_stride;
  int y_is_bf16;
  const float* gate;
  int64_t gate_stride;
  struct fc_cuda_groups groups;
};
typedef int (*fc_cuda_gated_add_function)(const struct fc_cuda_gated_add_args* args, void* stream);
FC_CUDA_EXPORT int fc_cuda_gated_add(const struct fc_cuda_gated_add_args* args, void* stream);

/* rms_norm_rope.h. weight NULL: no norm; cos NULL: no rotation. head_dim is even. */
struct fc_cuda_rms_norm_rope_args {
  int64_t rows, heads, head_dim;
  const void* x; /* [rows, heads * head_dim] */
  int64_t x_stride;
  int is_bf16; /* x and out */
  const float* weight;
  float eps;
  const float *cos, *sin; /* row first_row + r belongs to row r of x */
  int64_t cos_stride, sin_stride;
  int64_t first_row;
  void* out; /* [heads, tokens, head_dim]; row first_row + r is written */
  int64_t out_head_stride, out_row_stride;
};
typedef int (*fc_cuda_rms_norm_rope_function)(const struct fc_cuda_rms_norm_rope_args* args, void* stream);
FC_CUDA_EXPORT int fc_cuda_rms_norm_rope(const struct fc_cuda_rms_norm_rope_args* args, void* stream);

/* engine/cache/kv/compact.h, in place: in each plane of a buffer [layers, planes, heads, capacity], row slots[i] moves
 * to row i, then follow `tail` rows from row `used`. slots: [layers, slot_heads, kept], ascending. Strides in bytes. */
struct fc_cuda_move_rows_args {
  void* base;
  int64_t layers, planes, heads;
  int64_t layer_bytes, plane_bytes, head_bytes, row_bytes; /* rows follow each other without a gap */
  const int32_t* slots;
  int64_t slot_heads; /* 1: for all heads; else `heads` */
  int64_t kept, used, tail;
};
typedef int (*fc_cuda_move_rows_function)(const struct fc_cuda_move_rows_args* args, void* stream);
FC_CUDA_EXPORT int fc_cuda_move_rows(const struct fc_cuda_move_rows_args* args, void* stream);

/* relative_l1.h: sums[0] = sum |cur - prev| and sums[1] = sum |prev|. The result does not depend on the device. */
#define FC_CUDA_L1_BLOCKS 512
struct fc_cuda_relative_l1_args {
  int64_t n;
  const void *cur, *prev; /* contiguous */
  int is_bf16;
  double*
      sums; /* [2 + 2 * FC_CUDA_L1_BLOCKS], on the device; those behind the first two are working memory */
};
typedef int (*fc_cuda_relative_l1_function)(const struct fc_cuda_relative_l1_args* args, void* stream);
FC_CUDA_EXPORT int fc_cuda_relative_l1(const struct fc_cuda_relative_l1_args* args, void* stream);

#ifdef __cplusplus
}
#endif
#endif
