// SPDX-License-Identifier: LGPL-2.1-or-later
// The kernels' module (kernels/cuda_module.h) for the stand-in driver. Only color_convert does anything: the same
// arithmetic for each sample, in a loop, and a look at whether a GPU could reach the memory.
#include "color_convert_pixel.h"
#include "cuda_module.h"
#include "fake_cuda.h"

namespace {

constexpr int kIllegalAddress = 700;  // cudaErrorIllegalAddress

bool reachable(const void* start, size_t stride, size_t row, int rows) {
  return fake_cuda_may_touch(start, stride * static_cast<size_t>(rows - 1) + row) != 0;
}

void write_rgba(const flowcache::RgbFrame& frame, const fc_planes& to) {
  for (int y = 0; y < frame.height; ++y) {
    auto* row = static_cast<uint8_t*>(to.plane[0]) + static_cast<size_t>(y) * to.stride[0];
    for (int x = 0; x < frame.width; ++x) {
      const flowcache::Rgb p = flowcache::pixel_at(frame, x, y);
      row[4 * x] = flowcache::to_byte(255.f * p.r);
      row[4 * x + 1] = flowcache::to_byte(255.f * p.g);
      row[4 * x + 2] = flowcache::to_byte(255.f * p.b);
      row[4 * x + 3] = 255;
    }
  }
}

void write_yuv(const flowcache::RgbFrame& frame, const fc_planes& to) {
  const bool nv12 = to.format == FC_FORMAT_NV12;
  const size_t step = nv12 ? 2 : 1;
  auto* u = static_cast<uint8_t*>(to.plane[1]);
  auto* v = nv12 ? u + 1 : static_cast<uint8_t*>(to.plane[2]);
  const size_t v_stride = nv12 ? to.stride[1] : to.stride[2];
  for (int y = 0; y < frame.height; ++y) {
    for (int x = 0; x < frame.width; ++x) {
      static_cast<uint8_t*>(to.plane[0])[static_cast<size_t>(y) * to.stride[0] + static_cast<size_t>(x)] =
          flowcache::luma_at(frame, x, y);
    }
  }
  for (int y = 0; 2 * y < frame.height; ++y) {
    for (int x = 0; 2 * x < frame.width; ++x) {
      const flowcache::Chroma c = flowcache::chroma_at(frame, x, y);
      u[static_cast<size_t>(y) * to.stride[1] + step * static_cast<size_t>(x)] = c.u;
      v[static_cast<size_t>(y) * v_stride + step * static_cast<size_t>(x)] = c.v;
    }
  }
}

}  // namespace

int fc_cuda_color_convert(const float* data, int width, int height, const fc_planes* planes, void*) {
  const flowcache::RgbFrame frame{data, width, height};
  const size_t w = static_cast<size_t>(width), half = (w + 1) / 2;
  if (fake_cuda_may_touch(data, 3 * sizeof(float) * w * static_cast<size_t>(height)) == 0)
    return kIllegalAddress;
  if (planes->format == FC_FORMAT_RGBA) {
    if (!reachable(planes->plane[0], planes->stride[0], 4 * w, height)) return kIllegalAddress;
    write_rgba(frame, *planes);
    return 0;
  }
  if (!reachable(planes->plane[0], planes->stride[0], w, height)) return kIllegalAddress;
  const bool nv12 = planes->format == FC_FORMAT_NV12;
  for (int i = 1; i < (nv12 ? 2 : 3); ++i) {
    if (!reachable(planes->plane[i], planes->stride[i], nv12 ? 2 * half : half, (height + 1) / 2))
      return kIllegalAddress;
  }
  write_yuv(frame, *planes);
  return 0;
}

int fc_cuda_kernels_version() {
  return FC_CUDA_KERNELS_VERSION;
}

constexpr int kNotSupported = 801;  // cudaErrorNotSupported
int fc_cuda_color_read(const fc_planes*, int, int, float*, void*) {
  return kNotSupported;
}
int fc_cuda_norm_modulate(const fc_cuda_norm_modulate_args*, void*) {
  return kNotSupported;
}
int fc_cuda_gated_add(const fc_cuda_gated_add_args*, void*) {
  return kNotSupported;
}
int fc_cuda_rms_norm_rope(const fc_cuda_rms_norm_rope_args*, void*) {
  return kNotSupported;
}
int fc_cuda_move_rows(const fc_cuda_move_rows_args*, void*) {
  return kNotSupported;
}
int fc_cuda_relative_l1(const fc_cuda_relative_l1_args*, void*) {
  return kNotSupported;
}
