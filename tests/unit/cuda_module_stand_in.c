/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Modules that are not libflowcache-kernels-cuda.so as this library needs it: MODULE_VERSION is what it says of itself,
 * MODULE_RESULT what its functions return; without the latter it has none.
 */
#include "cuda_module.h"

#ifdef MODULE_VERSION
int fc_cuda_kernels_version(void) {
  return MODULE_VERSION;
}
#else
int fc_cuda_color_convert(const float* frame, int width, int height, const fc_planes* planes, void* stream) {
  (void)frame, (void)width, (void)height, (void)planes, (void)stream;
  return 0;
}
#endif

#ifdef MODULE_RESULT
int fc_cuda_color_convert(const float* frame, int width, int height, const fc_planes* planes, void* stream) {
  (void)frame, (void)width, (void)height, (void)planes, (void)stream;
  return MODULE_RESULT;
}
int fc_cuda_color_read(const fc_planes* planes, int width, int height, float* frame, void* stream) {
  (void)planes, (void)width, (void)height, (void)frame, (void)stream;
  return MODULE_RESULT;
}
int fc_cuda_norm_modulate(const struct fc_cuda_norm_modulate_args* args, void* stream) {
  (void)args, (void)stream;
  return MODULE_RESULT;
}
int fc_cuda_gated_add(const struct fc_cuda_gated_add_args* args, void* stream) {
  (void)args, (void)stream;
  return MODULE_RESULT;
}
int fc_cuda_rms_norm_rope(const struct fc_cuda_rms_norm_rope_args* args, void* stream) {
  (void)args, (void)stream;
  return MODULE_RESULT;
}
int fc_cuda_move_rows(const struct fc_cuda_move_rows_args* args, void* stream) {
  (void)args, (void)stream;
  return MODULE_RESULT;
}
int fc_cuda_relative_l1(const struct fc_cuda_relative_l1_args* args, void* stream) {
  (void)args, (void)stream;
  return MODULE_RESULT;
}
#endif
