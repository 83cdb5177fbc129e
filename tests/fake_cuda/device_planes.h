// SPDX-License-Identifier: LGPL-2.1-or-later
// Planes for tests: in the stand-in driver's memory, or in the host's, with room behind every row.
#pragma once

#include <cuda.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "fake_cuda.h"
#include "flowcache.h"

// cuda.h of version 13 declares newer ones only.
extern "C" CUresult cuCtxCreate_v2(CUcontext* context, unsigned flags, CUdevice device);

namespace device_test {

constexpr uint8_t kUntouched = 0xcd;

// A context of its own, current for as long as it lives. The primary one if asked for.
class Context {
 public:
  explicit Context(bool primary) : primary_(primary) {
    cuInit(0);
    if (primary) {
      cuDevicePrimaryCtxRetain(&context_, 0);
    } else {
      cuCtxCreate_v2(&context_, 0, 0);
      cuCtxPopCurrent(nullptr);
    }
  }
  ~Context() {
    if (primary_) {
      cuDevicePrimaryCtxRelease(0);
    } else {
      cuCtxDestroy(context_);
    }
  }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  CUcontext get() const { return context_; }

 private:
  CUcontext context_ = nullptr;
  bool primary_;
};

// Rows of a plane in the host's memory (context null) or the device's, filled with kUntouched.
class Plane {
 public:
  Plane(CUcontext context, size_t row, size_t rows, size_t padding)
      : context_(context), stride_(row + padding), bytes_(stride_ * rows) {
    if (context == nullptr) {
      host_.assign(bytes_, kUntouched);
      return;
    }
    cuCtxPushCurrent(context);
    cuMemAlloc(&device_, bytes_);
    cuCtxPopCurrent(nullptr);
    std::memset(data(), kUntouched, bytes_);  // the stand-in's device memory is the host's
  }
  ~Plane() {
    if (context_ == nullptr) return;
    cuCtxPushCurrent(context_);
    cuMemFree(device_);
    cuCtxPopCurrent(nullptr);
  }
  Plane(const Plane&) = delete;
  Plane& operator=(const Plane&) = delete;

  uint8_t* data() { return context_ ? reinterpret_cast<uint8_t*>(device_) : host_.data(); }
  uint32_t stride() const { return static_cast<uint32_t>(stride_); }
  std::vector<uint8_t> copy() { return {data(), data() + bytes_}; }

 private:
  CUcontext context_;
  size_t stride_, bytes_;
  CUdeviceptr device_ = 0;
  std::vector<uint8_t> host_;
};

// All planes of a picture.
struct Picture {
  Plane luma, u, v;
  fc_planes planes{};

  Picture(CUcontext context, fc_format format, size_t width, size_t height, size_t padding)
      : luma(context, format == FC_FORMAT_RGBA ? 4 * width : width, height, padding),
        u(context, (width + 1) / 2 * (format == FC_FORMAT_NV12 ? 2 : 1), (height + 1) / 2, padding),
        v(context, (width + 1) / 2, (height + 1) / 2, padding) {
    planes.size = sizeof planes;
    planes.memory = context == nullptr ? FC_MEMORY_HOST : FC_MEMORY_CUDA;
    planes.format = format;
    Plane* all[] = {&luma, &u, &v};
    for (int i = 0; i < 3; ++i) {
      planes.plane[i] = all[i]->data();
      planes.stride[i] = all[i]->stride();
    }
  }
  std::vector<std::vector<uint8_t>> bytes() { return {luma.copy(), u.copy(), v.copy()}; }
};

// Nothing is left over, nothing was done that a driver would refuse, and no context is left current.
class Driver : public testing::Test {
 protected:
  void TearDown() override {
    EXPECT_EQ(fake_cuda_live_allocations(), 0);
    EXPECT_EQ(fake_cuda_live_contexts(), 0);
    EXPECT_EQ(fake_cuda_misuses(), 0) << fake_cuda_first_misuse();
    CUcontext current = nullptr;
    EXPECT_EQ(cuCtxGetCurrent(&current), CUDA_SUCCESS);
    EXPECT_EQ(current, nullptr);
  }
};

}  // namespace device_test
