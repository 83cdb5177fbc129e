// SPDX-License-Identifier: LGPL-2.1-or-later
// fc_chunk_write() into CUDA memory as a program calls it: the model that ships on the CPU, planes in the
// stand-in driver's memory.
#include "device_planes.h"

using namespace device_test;

namespace {

class CudaApi : public Driver {
 protected:
  void SetUp() override {
    fc_engine_config engine_config{};
    engine_config.size = sizeof engine_config;
    engine_config.device = "cpu";
    ASSERT_EQ(fc_engine_open(&engine_config, nullptr, nullptr, &engine_), FC_OK) << fc_last_error();
    fc_stream_config config{};
    config.size = sizeof config;
    config.prompt = "orange fire";
    config.steps = 1;
    ASSERT_EQ(fc_stream_open(engine_, &config, &stream_), FC_OK) << fc_last_error();
    ASSERT_EQ(fc_stream_next(stream_, &chunk_), FC_OK) << fc_last_error();
  }
  void TearDown() override {
    fc_chunk_unref(chunk_);
    fc_stream_close(stream_);
    fc_engine_unref(engine_);
    Driver::TearDown();
  }
  fc_engine* engine_ = nullptr;
  fc_stream* stream_ = nullptr;
  fc_chunk* chunk_ = nullptr;
};

TEST_F(CudaApi, ChunkOfTheCpuIsWrittenIntoCudaMemory) {
  fc_chunk_info info{};
  info.size = sizeof info;
  ASSERT_EQ(fc_chunk_describe(chunk_, &info), FC_OK);
  const Context context(false);
  for (const fc_format format : {FC_FORMAT_RGBA, FC_FORMAT_NV12, FC_FORMAT_I420}) {
    Picture want(nullptr, format, info.width, info.height, 0),
        got(context.get(), format, info.width, info.height, 192);
    ASSERT_EQ(fc_chunk_write(chunk_, 3, &want.planes), FC_OK) << fc_last_error();
    ASSERT_EQ(fc_chunk_write(chunk_, 3, &got.planes), FC_OK) << fc_last_error();
    for (uint32_t y = 0; y < info.height; ++y) {
      ASSERT_EQ(std::memcmp(want.luma.data() + y * want.luma.stride(),
                            got.luma.data() + y * got.luma.stride(), want.luma.stride()),
                0)
          << y;
    }
  }
}

TEST_F(CudaApi, RefusalsNameThePlane) {
  const Context context(false);
  fc_chunk_info info{};
  info.size = sizeof info;
  ASSERT_EQ(fc_chunk_describe(chunk_, &info), FC_OK);
  Picture picture(context.get(), FC_FORMAT_NV12, info.width, info.height, 0);
  picture.planes.stride[1] = 1;
  EXPECT_EQ(fc_chunk_write(chunk_, 0, &picture.planes), FC_ERROR_ARGUMENT);
  EXPECT_NE(std::strstr(fc_last_error(), "plane 1 has a stride of 1"), nullptr) << fc_last_error();
  picture.planes.stride[1] = info.width;
  picture.planes.plane[1] = &picture;
  EXPECT_EQ(fc_chunk_write(chunk_, 0, &picture.planes), FC_ERROR_ARGUMENT);
  EXPECT_NE(std::strstr(fc_last_error(), "plane 1 is not in CUDA memory"), nullptr) << fc_last_error();
}

// The stand-in is no device that LibTorch could run on: asking for it is an error, never the CPU.
TEST(CudaApiDevice, DriverWithoutADeviceForLibTorchIsAnError) {
  fc_engine_config config{};
  config.size = sizeof config;
  config.device = "cuda";
  fc_engine* engine = nullptr;
  EXPECT_EQ(fc_engine_open(&config, nullptr, nullptr, &engine), FC_ERROR_DEVICE);
  EXPECT_NE(std::strstr(fc_last_error(), "device \"cuda\" cannot be used"), nullptr) << fc_last_error();
  EXPECT_EQ(engine, nullptr);
}

}  // namespace
