// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream/calibrate.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "cache/reuse/magcache.h"
#include "temp_folder.h"
#include "tiny_model.h"

namespace flowcache {
namespace {

const auto go_on = [](double) { return true; };

// The curve that MagCache itself measures on a first chunk equals the first chunk's curve of a calibration.
TEST(Calibrate, AgreesWithVelocitiesTakenByHand) {
  const auto model = test::tiny_model();
  StreamConfig config;
  config.seed = 4;
  const Calibration result = calibrate(model, config, {"fire"}, 3, go_on);
  EXPECT_EQ(result.chunks, 3);

  std::vector<at::Tensor> velocities;
  config.prompt = "fire";
  config.cache = "none";
  Stream stream(model, config);
  stream.watch_computed(
      [&](const ChunkStep&, const at::Tensor& velocity) { velocities.push_back(velocity); });
  for (int c = 0; c < 3; ++c) stream.next();
  ASSERT_EQ(velocities.size(), 24u);
  const auto ratio = [&](int chunk, int step) {
    return (velocities[8 * chunk + step].norm(2, 0) / velocities[8 * chunk + step - 1].norm(2, 0))
        .mean()
        .item<double>();
  };
  EXPECT_EQ(result.curve[0], 1);
  for (int s = 1; s < 8; ++s) {
    EXPECT_NEAR(result.first_chunk[s], ratio(0, s), 1e-6);
    EXPECT_NEAR(result.curve[s], (ratio(1, s) + ratio(2, s)) / 2, 1e-6);
    EXPECT_NEAR(result.spread[s], std::abs(ratio(1, s) - ratio(2, s)) / 2, 1e-6);
  }
}

TEST(Calibrate, ItsFileIsWhatMagCacheReads) {
  const auto model = test::tiny_model();
  const Calibration result = calibrate(model, {}, {"fire", "snow"}, 2, go_on);
  const test::TempFolder folder;
  const std::string file = folder.write("curve.json", result.json());
  const auto curve = read_curve(file);
  ASSERT_EQ(curve.size(), 8u);
  for (int s = 0; s < 8; ++s) EXPECT_NEAR(curve[s], result.curve[s], 1e-5);
  EXPECT_NE(choose_reuse("magcache:curve_file=" + file).make(), nullptr);
}

TEST(Calibrate, TooLittleIsRefusedAndItCanBeCancelled) {
  const auto model = test::tiny_model();
  EXPECT_THROW(calibrate(model, {}, {}, 3, go_on), Error);
  EXPECT_THROW(calibrate(model, {}, {"fire"}, 1, go_on), Error);
  try {
    calibrate(model, {}, {"fire"}, 2, [](double) { return false; });
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), FC_CANCELLED);
  }
}

}  // namespace
}  // namespace flowcache
