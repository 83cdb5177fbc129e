// SPDX-License-Identifier: LGPL-2.1-or-later
#include <map>
#include <mutex>

#include "color_convert_pixel.h"
#include "cuda_block.cuh"
#include "cuda_module.h"

namespace {

using flowcache::Chroma;
using flowcache::RgbFrame;

// planes is passed by value, because a kernel cannot read the host's memory.
struct Planes {
  uint8_t* plane[3];
  uint32_t stride[3];
};

__global__ void write_rgba(RgbFrame frame, Planes to) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= frame.width || y >= frame.height) return;
  const flowcache::Rgb p = flowcache::pixel_at(frame, x, y);
  uint8_t* at = to.plane[0] + static_cast<size_t>(y) * to.stride[0] + 4 * x;
  at[0] = flowcache::to_byte(255.f * p.r);
  at[1] = flowcache::to_byte(255.f * p.g);
  at[2] = flowcache::to_byte(255.f * p.b);
  at[3] = 255;
}

// Each thread writes one chroma sample and the luma samples around it, four at most. step: bytes from one
// chroma sample to the next.
__global__ void write_yuv(RgbFrame frame, Planes to, int step) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (2 * x >= frame.width || 2 * y >= frame.height) return;
  for (int j = 2 * y; j < 2 * y + 2 && j < frame.height; ++j) {
    for (int i = 2 * x; i < 2 * x + 2 && i < frame.width; ++i) {
      to.plane[0][static_cast<size_t>(j) * to.stride[0] + i] = flowcache::luma_at(frame, i, j);
    }
  }
  const Chroma c = flowcache::chroma_at(frame, x, y);
  to.plane[1][static_cast<size_t>(y) * to.stride[1] + step * x] = c.u;
  to.plane[2][static_cast<size_t>(y) * to.stride[2] + step * x] = c.v;
}

__global__ void read_rgba(Planes from, float* out, int width, int height) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= width || y >= height) return;
  const uint8_t* at = from.plane[0] + static_cast<size_t>(y) * from.stride[0] + 4 * x;
  const size_t plane = static_cast<size_t>(width) * height, here = static_cast<size_t>(y) * width + x;
  for (int c = 0; c < 3; ++c) out[c * plane + here] = at[c] / 255.f;
}

__global__ void read_yuv(flowcache::YuvFrame from, float* out) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= from.width || y >= from.height) return;
  const size_t plane = static_cast<size_t>(from.width) * from.height,
               here = static_cast<size_t>(y) * from.width + x;
  const flowcache::Rgb p = flowcache::rgb_at(from, x, y);
  out[here] = p.r;
  out[plane + here] = p.g;
  out[2 * plane + here] = p.b;
}

Planes planes_of(const fc_planes& planes) {
  Planes p{};
  for (int i = 0; i < 3; ++i) {
    p.plane[i] = static_cast<uint8_t*>(planes.plane[i]);
    p.stride[i] = planes.stride[i];
  }
  if (planes.format == FC_FORMAT_NV12) {
    p.plane[2] = p.plane[1] + 1;
    p.stride[2] = p.stride[1];
  }
  return p;
}

// The stream of the current device. It is made once and kept.
cudaError_t own_stream(cudaStream_t* stream) {
  static std::mutex mutex;
  static std::map<int, cudaStream_t> streams;
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device)) return error;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = streams.find(device);
  if (found != streams.end()) {
    *stream = found->second;
    return cudaSuccess;
  }
  const cudaError_t error = cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking);
  if (error == cudaSuccess) streams.emplace(device, *stream);
  return error;
}

}  // namespace

extern "C" int fc_cuda_color_convert(const float* data, int width, int height, const fc_planes* planes,
                                     void* stream) {
  const RgbFrame frame{data, width, height};
  const Planes to = planes_of(*planes);
  const bool rgba = planes->format == FC_FORMAT_RGBA;
  const int columns = rgba ? width : (width + 1) / 2, rows = rgba ? height : (height + 1) / 2;
  const dim3 block(32, 8), grid((columns + 31) / 32, (rows + 7) / 8);
  auto on = static_cast<cudaStream_t>(stream);
  if (on == nullptr) {
    if (const cudaError_t error = own_stream(&on)) return error;
  }
  const int launched = rgba ? flowcache::cuda::launch(write_rgba, grid, block, on, frame, to)
                            : flowcache::cuda::launch(write_yuv, grid, block, on, frame, to,
                                                      planes->format == FC_FORMAT_NV12 ? 2 : 1);
  return launched != cudaSuccess ? launched : cudaStreamSynchronize(on);
}

extern "C" int fc_cuda_color_read(const fc_planes* planes, int width, int height, float* frame,
                                  void* stream) {
  const Planes from = planes_of(*planes);
  const dim3 block(32, 8), grid((width + 31) / 32, (height + 7) / 8);
  const auto on = static_cast<cudaStream_t>(stream);
  int launched = cudaSuccess;
  if (planes->format == FC_FORMAT_RGBA) {
    launched = flowcache::cuda::launch(read_rgba, grid, block, on, from, frame, width, height);
  } else {
    const flowcache::YuvFrame yuv{from.plane[0],
                                  from.plane[1],
                                  from.plane[2],
                                  from.stride[0],
                                  from.stride[1],
                                  from.stride[2],
                                  planes->format == FC_FORMAT_NV12 ? 2 : 1,
                                  width,
                                  height};
    launched = flowcache::cuda::launch(read_yuv, grid, block, on, yuv, frame);
  }
  return launched != cudaSuccess ? launched : cudaStreamSynchronize(on);
}
