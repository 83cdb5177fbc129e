// SPDX-License-Identifier: LGPL-2.1-or-later
// The arithmetic of the CUDA kernel, run on the host and compared with BT.709 in double precision.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "color_convert_pixel.h"

using namespace flowcache;

namespace {

struct Image {
  int width, height;
  std::vector<float> data;
  RgbFrame frame() const { return {data.data(), width, height}; }
  double at(int channel, int x, int y) const {
    x = std::clamp(x, 0, width - 1);
    y = std::clamp(y, 0, height - 1);
    const double value = data[(static_cast<size_t>(channel) * height + y) * width + x];
    return std::isnan(value) ? 0 : std::clamp(value, 0.0, 1.0);
  }
};

Image noise(int width, int height) {
  Image image{width, height, std::vector<float>(3 * static_cast<size_t>(width) * height)};
  std::mt19937 random(7);
  std::uniform_real_distribution<float> value(-0.2f, 1.2f);
  for (float& one : image.data) one = value(random);
  image.data[1] = NAN;
  return image;
}

double luma(double r, double g, double b) {
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

TEST(ColorPixel, MatchesBt709AtOddAndEvenSizes) {
  for (const auto& [width, height] : {std::pair{64, 48}, {63, 47}, {1, 1}, {2, 3}, {5, 2}}) {
    const Image image = noise(width, height);
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const double wanted = 16 + 219 * luma(image.at(0, x, y), image.at(1, x, y), image.at(2, x, y));
        EXPECT_NEAR(luma_at(image.frame(), x, y), wanted, 0.501) << x << "," << y;
      }
    }
    for (int y = 0; y < (height + 1) / 2; ++y) {
      for (int x = 0; x < (width + 1) / 2; ++x) {
        double c[3] = {};
        for (int channel = 0; channel < 3; ++channel) {
          for (int row = 0; row < 2; ++row) {
            c[channel] +=
                (image.at(channel, 2 * x - 1, 2 * y + row) + 2 * image.at(channel, 2 * x, 2 * y + row) +
                 image.at(channel, 2 * x + 1, 2 * y + row)) /
                8;
          }
        }
        const double l = luma(c[0], c[1], c[2]);
        const Chroma got = chroma_at(image.frame(), x, y);
        EXPECT_NEAR(got.u, 128 + 224 * (c[2] - l) / 1.8556, 0.501) << x << "," << y;
        EXPECT_NEAR(got.v, 128 + 224 * (c[0] - l) / 1.5748, 0.501) << x << "," << y;
      }
    }
  }
}

TEST(ColorPixel, BlackWhiteAndNothing) {
  const Image white{2, 2, std::vector<float>(12, 1.f)}, black{2, 2, std::vector<float>(12, -5.f)},
      nothing{2, 2, std::vector<float>(12, NAN)};
  EXPECT_EQ(luma_at(white.frame(), 1, 1), 235);
  EXPECT_EQ(luma_at(black.frame(), 0, 0), 16);
  EXPECT_EQ(luma_at(nothing.frame(), 0, 0), 16);
  EXPECT_EQ(chroma_at(white.frame(), 0, 0).u, 128);
  EXPECT_EQ(chroma_at(white.frame(), 0, 0).v, 128);
}

}  // namespace
