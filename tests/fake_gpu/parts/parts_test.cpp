// SPDX-License-Identifier: LGPL-2.1-or-later
// Single parts of the engine on the fake GPU: what a matrix product and a decoder launch there.
#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>

#include "counts.h"
#include "cudnn.h"
#include "families/preflight.h"
#include "networks/decoders/magi_vae.h"
#include "networks/decoders/taehv.h"
#include "networks/decoders/wan_vae.h"
#include "networks/eight_bits.h"
#include "networks/linear.h"
#include "networks/random_weights.h"
#include "stream/device.h"

namespace flowcache {
namespace {

const at::Device gpu(at::kCUDA, 0);

struct Used {
  long launches = 0;
  int64_t bytes = 0;  // of device memory, at most at any time beside what was there before
};

Used used_by(const std::function<void()>& work) {
  c10::DeviceAllocator& allocator = *c10::getDeviceAllocator(gpu.type());
  allocator.resetPeakStats(gpu.index());
  const int64_t before = allocator.getDeviceStats(gpu.index()).allocated_bytes[0].current;
  const FakeGpuCounts begin = fake_gpu_test::counts();
  work();
  return {fake_gpu_test::between(begin, fake_gpu_test::counts()).launches,
          allocator.getDeviceStats(gpu.index()).allocated_bytes[0].peak - before};
}

// For the length of a test the GPU has this compute capability.
struct Capability {
  explicit Capability(int capability) {
    setenv("FAKE_GPU_CAPABILITY", std::to_string(capability).c_str(), 1);
  }
  ~Capability() { unsetenv("FAKE_GPU_CAPABILITY"); }
};

at::Tensor on_gpu(std::vector<int64_t> shape, at::ScalarType type = at::kBFloat16) {
  return at::empty(shape, at::TensorOptions(gpu).dtype(type));
}

class Parts : public testing::Test {
  const c10::InferenceMode inference_;
};

constexpr int64_t in = 1536, out = 8960;

Linear layer(Precision precision, int64_t width = in, int64_t height = out) {
  return Linear(on_gpu({height, width}), on_gpu({height}), precision, gpu);
}

TEST_F(Parts, AProductWithBiasAndActivationIsOneLaunch) {
  const Linear linear = layer(at::kBFloat16);
  const at::Tensor x = on_gpu({128, in});
  linear(x);  // the first one opens cuBLAS
  for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu_tanh})
    EXPECT_EQ(used_by([&] { linear(x, activation); }).launches, 1) << static_cast<int>(activation);
}

// The largest row, its two-step scale, the rounding, and the product.
TEST_F(Parts, Fp8IsNotRestoredWhereTheGpuMultipliesIt) {
  const at::Tensor x = on_gpu({32, in});
  for (const int capability : {89, 90}) {
    const Capability of_gpu(capability);
    const Linear linear = layer(choose_precision("fp8", gpu));
    const Used used = used_by([&] { linear(x); });
    EXPECT_EQ(used.launches, 5);
    EXPECT_LT(used.bytes, 2 * in * out) << capability;
  }
}

// The restored matrix takes two bytes for each weight.
TEST_F(Parts, Fp8IsRestoredWhereItDoesNot) {
  const Capability of_gpu(80);
  const Linear linear = layer(choose_precision("fp8", gpu));
  EXPECT_GE(used_by([&] { linear(on_gpu({32, in})); }).bytes, 2 * in * out);
}

// As fp8, with two more launches for the rounding and two behind the product, which gives whole numbers.
TEST_F(Parts, Int8IsMultipliedFromTuringOn) {
  const at::Tensor x = on_gpu({32, in});
  {
    const Capability turing(75);
    const Linear linear = layer(choose_precision("int8", gpu));
    const Used used = used_by([&] { linear(x); });
    EXPECT_EQ(used.launches, 9);
    EXPECT_LT(used.bytes, 2 * in * out);
  }
  const Capability volta(70);
  const Linear linear = layer(choose_precision("int8", gpu));
  EXPECT_GE(used_by([&] { linear(x); }).bytes, 2 * in * out);
}

// What LibTorch would refuse.
TEST_F(Parts, SizesThatNoProductTakesAreRestored) {
  const auto works = [](const char* name, int64_t rows, int64_t width, int64_t height) {
    const Linear linear = layer(choose_precision(name, gpu), width, height);
    EXPECT_GE(used_by([&] {
                linear(on_gpu({rows, width}));
              }).bytes,
              2 * width * height)
        << name << " " << rows << " x " << width << " x " << height;
  };
  works("fp8", 32, 1528, 8960);
  works("fp8", 32, 1536, 8952);
  works("int8", 16, 1536, 8960);
  works("int8", 32, 1532, 8960);
  works("int8", 32, 1536, 8956);
}

// The second call of a decoder, in the middle of a stream: a chunk of these latent frames.
long launches_of(const Decoder& decoder, int64_t frames, int64_t rows, int64_t columns,
                 int64_t channels = 16) {
  const auto state = decoder.open();
  const at::Tensor latents = on_gpu({frames, channels, rows, columns}, at::kFloat);
  decoder.decode(latents, *state);
  return used_by([&] { decoder.decode(latents, *state); }).launches;
}

TEST_F(Parts, DecodersStayWithinTheirLaunches) {
  fake_gpu_test::use_cudnn();
  const WanVaeConfig config = WanVaeConfig::from_json(nlohmann::json::object());
  const auto wan = [&](WeightMap weights) {
    return std::make_unique<WanVaeDecoder>(config, weights, at::kBFloat16, gpu, "wan_vae");
  };
  const auto taehv = [&](WeightMap weights) {
    return make_taehv(nlohmann::json::object(), std::move(weights), at::kBFloat16, gpu);
  };
  const auto magi = [&](WeightMap weights) {
    return std::make_unique<MagiVaeDecoder>(MagiVaeConfig{}, weights, at::kBFloat16, gpu, "magi_vae");
  };
  const WanVaeConfig of_22 = Wan22VaeConfig::from_json(nlohmann::json::object());
  const auto wan22 = [&](WeightMap weights) {
    return std::make_unique<WanVaeDecoder>(of_22, weights, at::kBFloat16, gpu, "wan22_vae");
  };
  const long of_wan22 = launches_of(*wan22(random_weights(wanted_by(wan22))), 8, 44, 80, 48);
  const long of_wan = launches_of(*wan(random_weights(wanted_by(wan))), 3, 60, 104);
  const long of_taehv = launches_of(*taehv(random_weights(wanted_by(taehv))), 3, 60, 104);
  const long of_magi = launches_of(*magi(random_weights(wanted_by(magi))), 6, 90, 90);
  std::printf(
      "launches a chunk: Wan VAE 480p %ld, Wan 2.2's 704p %ld, TAEHV 480p %ld, MAGI's VAE 720x720 %ld\n",
      of_wan, of_wan22, of_taehv, of_magi);
  EXPECT_LE(of_wan22, 3600);
  EXPECT_LE(of_wan, 1190);
  EXPECT_LE(of_taehv, 140);
  EXPECT_LE(of_magi, 11650);
}

// What two calls of a decoder take, with what is kept for the third, beside its weights and the frames of two chunks.
int64_t bytes_of_decoding(const Decoder& decoder, const ModelPackage& package, int64_t channels,
                          int64_t frames) {
  const int64_t cell = decoder.space_scale();
  const at::Tensor latents =
      on_gpu({frames, channels, package.height / cell, package.width / cell}, at::kFloat);
  const int64_t used = used_by([&] {
                         const auto state = decoder.open();
                         decoder.decode(latents, *state);
                         decoder.decode(latents, *state);
                       }).bytes;
  return used - 2 * 4 * 3 * package.width * package.height * frames * decoder.time_scale();
}

// The preflight's figure for them is a measured one.
TEST_F(Parts, WanVaesTakeWhatThePreflightSays) {
  fake_gpu_test::use_cudnn();
  const auto check = [](const WanVaeConfig& config, int width, int height, int64_t frames) {
    const auto make = [&](WeightMap weights) {
      return std::make_unique<WanVaeDecoder>(config, weights, at::kBFloat16, gpu, config.kind());
    };
    ModelPackage package;
    package.width = width;
    package.height = height;
    package.decoder = {{"kind", config.kind()}};
    const int64_t bytes =
        bytes_of_decoding(*make(random_weights(wanted_by(make))), package, config.z_dim, frames);
    const auto planned = static_cast<int64_t>(decoding_bytes(package, 2));
    std::printf("%s, %d x %d, %ld latent frames: %ld MB, planned %ld MB\n", config.kind(), width, height,
                static_cast<long>(frames), static_cast<long>(bytes / 1'000'000),
                static_cast<long>(planned / 1'000'000));
    EXPECT_LE(bytes, planned);
    EXPECT_GE(bytes, planned / 10 * 9);
  };
  for (const int64_t frames : {1, 3})
    check(WanVaeConfig::from_json(nlohmann::json::object()), 832, 480, frames);
  for (const int64_t frames : {1, 8})
    check(Wan22VaeConfig::from_json(nlohmann::json::object()), 1280, 704, frames);
}

}  // namespace
}  // namespace flowcache

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (!fake_gpu_test::is_preloaded()) return 77;
  fake_gpu_test::refuse_cudnn();
  flowcache::choose_device("cuda:0");
  at::globalContext().lazyInitDevice(at::kCUDA);
  return RUN_ALL_TESTS();
}
