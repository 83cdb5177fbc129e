// SPDX-License-Identifier: LGPL-2.1-or-later
// Frames in planes of CUDA memory are those in planes of the host, written and read, at odd sizes and strides, too.
#include <ATen/ATen.h>

#include <algorithm>
#include <cstdlib>

#include "color_convert.h"
#include "kit.h"

namespace device_kit {
namespace {

struct Layout {
  fc_format format;
  const char* name;
};
constexpr Layout layouts[] = {{FC_FORMAT_RGBA, "RGBA"}, {FC_FORMAT_NV12, "NV12"}, {FC_FORMAT_I420, "I420"}};

// Planes one behind the other, each row `spare` bytes longer than it must be.
struct Planes {
  Planes(fc_format format, uint32_t width, uint32_t height, uint32_t spare) : planes(fc_planes_init()) {
    const uint32_t half = (width + 1) / 2, rows = (height + 1) / 2;
    planes.format = format;
    if (format == FC_FORMAT_RGBA)
      add(4 * width + spare, height);
    else {
      add(width + spare, height);
      if (format == FC_FORMAT_NV12) add(2 * half + spare, rows);
      if (format == FC_FORMAT_I420) add(half + spare, rows), add(half + spare, rows);
    }
  }
  void place(uint8_t* memory) {
    for (int i = 0; i < count; ++i) planes.plane[i] = memory + offset[i];
  }
  void add(uint32_t stride, uint32_t rows) {
    planes.stride[count] = stride;
    offset[count++] = bytes;
    bytes += size_t{stride} * rows;
  }
  fc_planes planes;
  size_t bytes = 0, offset[3] = {};
  int count = 0;
};

// How far frames are apart that the device and the host read from the same bytes.
float apart_when_read(const fc_planes& there, const at::Tensor& like, const fc_planes& here) {
  const at::Tensor got = at::empty_like(like), want = at::empty(like.sizes());
  flowcache::color_read(there, got);
  flowcache::color_read(here, want);
  return (got.cpu() - want).abs().max().item<float>();
}

}  // namespace

json check_planes(const Options& options) {
  constexpr int to_device = 1, to_host = 2;
  const bool cuda = options.device.starts_with("cuda");
  const Engine engine = open_engine(options, options.device);  // opens LibTorch's CUDA half
  const Runtime runtime;
  if (cuda && !runtime.there) throw std::runtime_error("CUDA's runtime is not loaded");
  json rows = json::array();
  int largest = 0;
  float read_apart = 0;
  size_t differing = 0, all = 0, outside = 0;
  at::manual_seed(3);
  for (const auto& [width, height] :
       {std::pair{16u, 16u}, {17u, 9u}, {1u, 1u}, {641u, 361u}, {2u, 3u}, {512u, 288u}})
    for (const Layout& layout : layouts)
      for (const uint32_t spare : {0u, 3u}) {
        const at::Tensor frame = at::rand({3, height, width}) * 1.2 - 0.1;  // beyond 0..1, too
        Planes planes(layout.format, width, height, spare);
        std::vector<uint8_t> want(planes.bytes, 99), got(planes.bytes, 99);
        planes.place(want.data());
        flowcache::color_convert(frame, planes.planes);
        const at::Tensor there = frame.to(at::Device(options.device));
        if (cuda) {
          void* memory = nullptr;
          if (runtime.allocate(&memory, planes.bytes) != 0) throw std::runtime_error("cudaMalloc failed");
          runtime.copy(memory, got.data(), planes.bytes, to_device);
          planes.planes.memory = FC_MEMORY_CUDA;
          planes.place(static_cast<uint8_t*>(memory));
          flowcache::wait_for_device(there);
          flowcache::color_convert(there, planes.planes);
          runtime.copy(got.data(), memory, planes.bytes, to_host);
          fc_planes copied = planes.planes;
          copied.memory = FC_MEMORY_HOST;
          for (int i = 0; i < planes.count; ++i) copied.plane[i] = got.data() + planes.offset[i];
          read_apart = std::max(read_apart, apart_when_read(planes.planes, there, copied));
          runtime.release(memory);
        } else {
          planes.place(got.data());
          flowcache::color_convert(there, planes.planes);
          read_apart = std::max(read_apart, apart_when_read(planes.planes, there, planes.planes));
        }
        for (int i = 0; i < planes.count; ++i)
          for (size_t at = planes.offset[i], end = i + 1 < planes.count ? planes.offset[i + 1] : planes.bytes;
               at < end; ++at) {
            const int apart = std::abs(int{want[at]} - int{got[at]});
            const bool behind =
                (at - planes.offset[i]) % planes.planes.stride[i] >= planes.planes.stride[i] - spare;
            outside += behind && got[at] != 99;
            largest = std::max(largest, apart);
            differing += apart != 0;
            ++all;
          }
      }
  std::string why;
  if (largest > 1) why = "samples differ by " + std::to_string(largest);
  if (!(read_apart <= 1e-5F)) why += " planes are read differently by " + std::to_string(read_apart);
  if (outside > 0) why += " bytes behind rows were written";
  return {{"ok", why.empty()},
          {"why", why},
          {"samples", all},
          {"differing", differing},
          {"largest", largest},
          {"read", read_apart},
          {"memory", cuda ? "CUDA" : "host, instead of CUDA"}};
}

}  // namespace device_kit
