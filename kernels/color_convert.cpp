// SPDX-License-Identifier: LGPL-2.1-or-later
// Chooses the way in which a frame gets into planes: on the host, by upload, or on the GPU.
#include "color_convert.h"

#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "cuda_driver.h"
#include "cuda_kernels.h"

namespace flowcache {
namespace {

// For each plane of a format: the bytes of a row, and the rows; 0 where the format has no such plane.
struct PlaneSize {
  uint32_t row_bytes = 0, rows = 0;
};

// Of an enum that a caller in C has filled with any number: to load one that is none of its values is undefined.
template <typename Enum>
int number_of(const Enum& value) {
  int number = 0;
  static_assert(sizeof number == sizeof value);
  std::memcpy(&number, &value, sizeof number);
  return number;
}

std::array<PlaneSize, 3> sizes_of(int format, int64_t width, int64_t height) {
  const auto w = static_cast<uint32_t>(width), h = static_cast<uint32_t>(height);
  const uint32_t chroma = (w + 1) / 2, half = (h + 1) / 2;
  switch (format) {
    case FC_FORMAT_RGBA:
      return {{{4 * w, h}, {}, {}}};
    case FC_FORMAT_NV12:
      return {{{w, h}, {2 * chroma, half}, {}}};
    case FC_FORMAT_I420:
      return {{{w, h}, {chroma, half}, {chroma, half}}};
  }
  throw Error(FC_ERROR_ARGUMENT, "unknown pixel format " + std::to_string(format) +
                                     ": use FC_FORMAT_RGBA, FC_FORMAT_NV12 or FC_FORMAT_I420");
}

void check(const fc_planes& planes, const std::array<PlaneSize, 3>& sizes) {
  const int memory = number_of(planes.memory);
  if (memory != FC_MEMORY_HOST && memory != FC_MEMORY_CUDA)
    throw Error(FC_ERROR_ARGUMENT, "unknown kind of memory " + std::to_string(memory) +
                                       ": use FC_MEMORY_HOST or FC_MEMORY_CUDA");
  for (size_t i = 0; i < sizes.size() && sizes[i].rows > 0; ++i) {
    const std::string name = "plane " + std::to_string(i);
    if (!planes.plane[i]) throw Error(FC_ERROR_ARGUMENT, name + " is NULL: the format needs it");
    if (planes.stride[i] < sizes[i].row_bytes)
      throw Error(FC_ERROR_ARGUMENT, name + " has a stride of " + std::to_string(planes.stride[i]) +
                                         " bytes: a row needs " + std::to_string(sizes[i].row_bytes));
  }
}

// The context that all planes are in. Throws FC_ERROR_ARGUMENT for a plane that is not in CUDA memory,
// FC_ERROR_DEVICE if the planes are in different contexts.
void* context_of(const CudaDriver& driver, const fc_planes& planes, const std::array<PlaneSize, 3>& sizes) {
  void* common = nullptr;
  for (size_t i = 0; i < sizes.size() && sizes[i].rows > 0; ++i) {
    void* context = driver.context_of(planes.plane[i]);
    if (!context)
      throw Error(FC_ERROR_ARGUMENT, "plane " + std::to_string(i) +
                                         " is not in CUDA memory: allocate it on the device, or pass "
                                         "FC_MEMORY_HOST planes");
    if (common && context != common)
      throw Error(FC_ERROR_DEVICE, "the planes are in different CUDA contexts: allocate them in one");
    common = context;
  }
  return common;
}

// Planes of the same format on the host, with rows as short as they can be.
class HostPlanes {
 public:
  HostPlanes(fc_format format, const std::array<PlaneSize, 3>& sizes) : sizes_(sizes) {
    planes.size = sizeof planes;
    planes.format = format;
    for (size_t i = 0; i < sizes.size(); ++i) {
      bytes_[i].resize(size_t{sizes[i].row_bytes} * sizes[i].rows);
      planes.plane[i] = bytes_[i].data();
      planes.stride[i] = sizes[i].row_bytes;
    }
  }

  enum class Way { Up, Down };
  // Copies them to planes in CUDA memory, or from there. That context must be current. Returns when it is done.
  void copy(const CudaDriver& driver, Way way, const fc_planes& device) const {
    constexpr int kHost = 1, kDevice = 2;  // of CUmemorytype
    const bool up = way == Way::Up;
    for (size_t i = 0; i < sizes_.size() && sizes_[i].rows > 0; ++i) {
      const auto there = reinterpret_cast<uint64_t>(device.plane[i]);
      CudaCopy2d copy;
      copy.source_memory = up ? kHost : kDevice;
      copy.target_memory = up ? kDevice : kHost;
      (up ? copy.target_device : copy.source_device) = there;
      if (up)
        copy.source_host = planes.plane[i];
      else
        copy.target_host = planes.plane[i];
      copy.source_pitch = up ? planes.stride[i] : device.stride[i];
      copy.target_pitch = up ? device.stride[i] : planes.stride[i];
      copy.width_bytes = sizes_[i].row_bytes;
      copy.height = sizes_[i].rows;
      if (const int error = driver.copy_2d(&copy))
        throw Error(FC_ERROR_DEVICE, "plane " + std::to_string(i) + " cannot be " +
                                         (up ? "uploaded" : "downloaded") + " (" + driver.name_of(error) +
                                         "): its memory must hold " + std::to_string(sizes_[i].rows) +
                                         " rows of " + std::to_string(device.stride[i]) + " bytes");
    }
  }

  fc_planes planes{};

 private:
  const std::array<PlaneSize, 3>& sizes_;
  std::array<std::vector<uint8_t>, 3> bytes_;
};

// Converts on the host and then uploads: the result has fewer bytes than the frame, which has
// twelve for each pixel.
void upload(const at::Tensor& frame, const fc_planes& planes, const std::array<PlaneSize, 3>& sizes) {
  const CudaDriver& driver = CudaDriver::get();
  const CurrentCudaContext current(driver, context_of(driver, planes, sizes));
  const HostPlanes host(planes.format, sizes);
  color_convert_on_cpu(frame, host.planes);
  host.copy(driver, HostPlanes::Way::Up, planes);
}

void download(const fc_planes& planes, const std::array<PlaneSize, 3>& sizes, const at::Tensor& frame) {
  const CudaDriver& driver = CudaDriver::get();
  const CurrentCudaContext current(driver, context_of(driver, planes, sizes));
  const HostPlanes host(planes.format, sizes);
  host.copy(driver, HostPlanes::Way::Down, planes);
  color_read_on_cpu(host.planes, frame);
}

// The frame as the kernel reads it. If that is a copy, it is made and finished before this returns, because the kernel
// runs on a stream of its own and does not wait for what LibTorch computes.
at::Tensor contiguous_floats(const at::Tensor& frame) {
  if (frame.scalar_type() == at::kFloat && frame.is_contiguous()) return frame;
  const c10::impl::VirtualGuardImpl device(frame.device().type());
  const c10::StreamGuard side(device.getStreamFromGlobalPool(frame.device(), /*isHighPriority=*/false));
  const at::Tensor copy = frame.to(at::kFloat).contiguous();
  wait_for_device(copy);
  return copy;
}

void convert_on_cuda(const at::Tensor& frame, const fc_planes& planes,
                     const std::array<PlaneSize, 3>& sizes) {
  const CudaDriver& driver = CudaDriver::get();
  const CudaKernels& kernels = CudaKernels::get();
  const at::Tensor source = contiguous_floats(frame);
  void* context = context_of(driver, planes, sizes);
  if (driver.context_of(source.const_data_ptr()) != context)
    throw Error(FC_ERROR_DEVICE, "the planes are in another CUDA context than the frames on " +
                                     frame.device().str() +
                                     ": allocate them in the device's primary context, which LibTorch uses");
  const CurrentCudaContext current(driver, context);
  const int error = kernels.color_convert(source.const_data_ptr<float>(), static_cast<int>(source.size(2)),
                                          static_cast<int>(source.size(1)), &planes, nullptr);
  if (error != 0)
    throw Error(FC_ERROR_DEVICE, "the GPU cannot convert a frame: CUDA error " + std::to_string(error) +
                                     "; its memory or the planes' may be gone");
}

// False if the planes are in another context than the frame, or if there are no kernels for it.
bool read_on_cuda(const fc_planes& planes, const std::array<PlaneSize, 3>& sizes, const at::Tensor& frame) {
  const CudaDriver& driver = CudaDriver::get();
  void* context = context_of(driver, planes, sizes);
  const CudaCall cuda(frame);
  if (!cuda || driver.context_of(frame.const_data_ptr()) != context) return false;
  const CurrentCudaContext current(driver, context);
  return cuda.ran(cuda->color_read(&planes, static_cast<int>(frame.size(2)), static_cast<int>(frame.size(1)),
                                   frame.mutable_data_ptr<float>(), cuda.stream()));
}

}  // namespace

bool in_cuda_memory(const fc_planes& planes) {
  return number_of(planes.memory) == FC_MEMORY_CUDA;
}

void wait_for_device(const at::Tensor& tensor) {
  if (tensor.is_cpu()) return;
  const c10::impl::VirtualGuardImpl device(tensor.device().type());
  device.getStream(tensor.device()).synchronize();
}

void color_convert(const at::Tensor& frame, const fc_planes& planes) {
  if (frame.dim() != 3 || frame.size(0) != 3 || frame.size(1) < 1 || frame.size(2) < 1)
    throw Error(FC_ERROR_INTERNAL, "color_convert wants a frame [3, H, W]");
  const auto sizes = sizes_of(number_of(planes.format), frame.size(2), frame.size(1));
  check(planes, sizes);
  if (planes.memory == FC_MEMORY_CUDA && frame.is_cuda()) return convert_on_cuda(frame, planes, sizes);
  const at::Tensor host = frame.to(at::kCPU, at::kFloat).contiguous();
  if (planes.memory == FC_MEMORY_CUDA) return upload(host, planes, sizes);
  color_convert_on_cpu(host, planes);
}

void color_read(const fc_planes& planes, const at::Tensor& frame) {
  const auto sizes = sizes_of(number_of(planes.format), frame.size(2), frame.size(1));
  check(planes, sizes);
  const bool on_cuda = in_cuda_memory(planes);
  if (on_cuda && frame.is_cuda() && read_on_cuda(planes, sizes, frame)) return;
  const at::Tensor host = frame.is_cpu() ? frame : at::empty(frame.sizes(), at::kFloat);
  if (on_cuda)
    download(planes, sizes, host);
  else
    color_read_on_cpu(planes, host);
  if (!frame.is_cpu()) frame.copy_(host);
}

}  // namespace flowcache
