// SPDX-License-Identifier: LGPL-2.1-or-later
// color_convert() into CUDA memory, on the stand-in driver and kernels: frames on the host are uploaded,
// frames on the device are converted there.
#include <ATen/ATen.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "color_convert.h"
#include "cuda_kernels.h"
#include "device_planes.h"

using namespace device_test;

namespace flowcache {
namespace {

// A frame in device memory, as LibTorch would hold it.
struct DeviceFrame {
  Plane memory;
  at::Tensor tensor;

  DeviceFrame(const at::Tensor& host, CUcontext context) : memory(context, host.nbytes(), 1, 0) {
    std::memcpy(memory.data(), host.const_data_ptr(), host.nbytes());
    tensor = at::for_blob(memory.data(), host.sizes())
                 .options(at::TensorOptions().dtype(at::kFloat).device(at::kCUDA, 0))
                 .target_device(at::Device(at::kCUDA, 0))
                 .make_tensor();
  }
};

at::Tensor noise(int64_t width, int64_t height) {
  at::manual_seed(width * 100 + height);
  return at::rand({3, height, width}) * 1.2 - 0.1;  // some of it out of range
}

std::string sentence(const at::Tensor& frame, const fc_planes& planes, fc_status status) {
  try {
    color_convert(frame, planes);
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), status) << error.what();
    return error.what();
  }
  return "nothing was refused";
}

bool has(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

using Size = std::tuple<int, int, int>;
class CudaPlanes : public Driver, public testing::WithParamInterface<Size> {};
INSTANTIATE_TEST_SUITE_P(Sizes, CudaPlanes,
                         testing::Combine(testing::Values(1, 2, 7, 64), testing::Values(1, 2, 5, 18),
                                          testing::Values(0, 3, 512)));

TEST_P(CudaPlanes, UploadedFramesAreTheHosts) {
  const auto [width, height, padding] = GetParam();
  const Context context(false);
  const at::Tensor frame = noise(width, height);
  for (const fc_format format : {FC_FORMAT_RGBA, FC_FORMAT_NV12, FC_FORMAT_I420}) {
    Picture want(nullptr, format, width, height, padding), got(context.get(), format, width, height, padding);
    const int uploads = fake_cuda_copies_to_device();
    color_convert(frame, want.planes);
    color_convert(frame, got.planes);
    EXPECT_EQ(got.bytes(), want.bytes()) << "format " << format;  // padding included: it is left alone
    EXPECT_EQ(fake_cuda_copies_to_device() - uploads, format == FC_FORMAT_RGBA   ? 1
                                                      : format == FC_FORMAT_NV12 ? 2
                                                                                 : 3);
  }
}

TEST_P(CudaPlanes, FramesOnTheDeviceAreConvertedThere) {
  const auto [width, height, padding] = GetParam();
  const Context context(true);
  const at::Tensor frame = noise(width, height);
  for (const fc_format format : {FC_FORMAT_RGBA, FC_FORMAT_NV12, FC_FORMAT_I420}) {
    Picture want(nullptr, format, width, height, padding), got(context.get(), format, width, height, padding);
    const DeviceFrame on_device(frame, context.get());
    const int uploads = fake_cuda_copies_to_device();
    color_convert(frame, want.planes);
    color_convert(on_device.tensor, got.planes);
    EXPECT_EQ(fake_cuda_copies_to_device(), uploads);
    const auto want_bytes = want.bytes(), got_bytes = got.bytes();
    for (size_t plane = 0; plane < 3; ++plane) {
      for (size_t i = 0; i < want_bytes[plane].size(); ++i) {
        // One apart where float arithmetic decides a tie the other way.
        ASSERT_LE(std::abs(got_bytes[plane][i] - want_bytes[plane][i]), 1) << plane << ", " << i;
      }
    }
  }
}

using CudaPlanesErrors = Driver;

TEST_F(CudaPlanesErrors, PlanesThatAreNotOnTheDevice) {
  const Context context(false);
  const at::Tensor frame = noise(4, 4);
  Picture host(nullptr, FC_FORMAT_RGBA, 4, 4, 0);
  host.planes.memory = FC_MEMORY_CUDA;
  EXPECT_TRUE(has(sentence(frame, host.planes, FC_ERROR_ARGUMENT), "plane 0 is not in CUDA memory"));
  Picture mixed(context.get(), FC_FORMAT_NV12, 4, 4, 0);
  mixed.planes.plane[1] = host.planes.plane[0];
  EXPECT_TRUE(has(sentence(frame, mixed.planes, FC_ERROR_ARGUMENT), "plane 1 is not in CUDA memory"));
  mixed.planes.memory = static_cast<fc_memory>(7);
  EXPECT_TRUE(has(sentence(frame, mixed.planes, FC_ERROR_ARGUMENT), "unknown kind of memory 7"));
}

TEST_F(CudaPlanesErrors, PlanesOfTwoContextsOrOfAnotherThanTheFrames) {
  const Context primary(true), other(false);
  Picture picture(primary.get(), FC_FORMAT_NV12, 4, 4, 0), foreign(other.get(), FC_FORMAT_NV12, 4, 4, 0);
  fc_planes mixed = picture.planes;
  mixed.plane[1] = foreign.planes.plane[1];
  EXPECT_TRUE(has(sentence(noise(4, 4), mixed, FC_ERROR_DEVICE), "different CUDA contexts"));
  const DeviceFrame frame(noise(4, 4), primary.get());
  EXPECT_TRUE(has(sentence(frame.tensor, foreign.planes, FC_ERROR_DEVICE), "another CUDA context"));
  color_convert(frame.tensor, picture.planes);
}

// A context that was current before stays current, also if writing fails.
TEST_F(CudaPlanesErrors, CallersContextStaysCurrent) {
  const Context mine(false), other(false);
  Picture picture(other.get(), FC_FORMAT_I420, 6, 6, 0);
  cuCtxPushCurrent(mine.get());
  color_convert(noise(6, 6), picture.planes);
  CUcontext current = nullptr;
  cuCtxGetCurrent(&current);
  EXPECT_EQ(current, mine.get());
  cuCtxPopCurrent(nullptr);
}

// A process asks for the module once, so each case has a process of its own, begun anew.
void ask_for_kernels(const char* module) {
  setenv("FLOWCACHE_CUDA_KERNELS", module, 1);
  try {
    CudaKernels::get();
  } catch (const Error& error) {
    std::fputs(error.what(), stderr);
    std::exit(error.status() == FC_ERROR_DEVICE ? 0 : 1);
  }
  std::exit(2);
}

TEST(CudaKernelsDeathTest, MissingOrWrongModuleIsNamed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(ask_for_kernels("/no/such/module.so"), testing::ExitedWithCode(0),
              "FC_MEMORY_HOST.*/no/such/module\\.so");
  EXPECT_EXIT(ask_for_kernels("libc.so.6"), testing::ExitedWithCode(0),
              "libc\\.so\\.6 has no fc_cuda_kernels_version");
}

// ---- color_read() from CUDA memory

TEST_P(CudaPlanes, AreReadAsTheHostsAre) {
  const auto [width, height, padding] = GetParam();
  const Context context(false);
  const at::Tensor frame = noise(width, height);
  for (const fc_format format : {FC_FORMAT_RGBA, FC_FORMAT_NV12, FC_FORMAT_I420}) {
    Picture host(nullptr, format, width, height, padding),
        device(context.get(), format, width, height, padding);
    color_convert(frame, host.planes);
    color_convert(frame, device.planes);
    at::Tensor want = at::empty({3, height, width}), got = at::empty({3, height, width});
    color_read(host.planes, want);
    color_read(device.planes, got);
    EXPECT_TRUE(at::equal(got, want)) << "format " << format;
  }
}

TEST_F(Driver, PlanesThatAreNotInCudaMemoryAreNotRead) {
  const Context context(false);
  Picture picture(nullptr, FC_FORMAT_NV12, 8, 6, 0);
  picture.planes.memory = FC_MEMORY_CUDA;
  at::Tensor frame = at::empty({3, 6, 8});
  try {
    color_read(picture.planes, frame);
    FAIL() << "nothing was refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), FC_ERROR_ARGUMENT);
    EXPECT_TRUE(has(error.what(), "plane 0 is not in CUDA memory")) << error.what();
  }
}

}  // namespace
}  // namespace flowcache
