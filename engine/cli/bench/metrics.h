// SPDX-License-Identifier: LGPL-2.1-or-later
// Measures to compare videos. ShownFrames are 8-bit RGBA; alpha is ignored. A chunk is its frames one after
// another.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace flowcache::cli {

struct ShownFrames {
  int width = 0, height = 0, count = 0;
  std::vector<uint8_t> rgba;  // count x height x width x 4
  const uint8_t* frame(int i) const { return rgba.data() + size_t{4} * width * height * i; }
};

// Mean squared error over RGB, in 8-bit units squared.
double mean_squared_error(const ShownFrames& a, const ShownFrames& b);
// 10 log10(255² / mse), at most 100 dB, which stands for equal pictures.
double psnr(double mse);
constexpr double invisible_psnr = 60;  // dB; differences above this cannot be seen
// Structural similarity of luma in windows of 8x8 pixels, every 4 pixels (Wang et al. 2004, with a uniform
// window); mean over the frames.
double ssim(const ShownFrames& a, const ShownFrames& b);
// Temporal flicker: the mean absolute difference, in 8-bit units, between the changes from frame to frame of
// `a` and those of `b`. 0: both move alike.
double flicker(const ShownFrames& a, const ShownFrames& b);

// The value that a share `p` (0..1) of the values do not exceed, by nearest rank; 0 if there are no values.
double percentile(std::vector<double> values, double p);

}  // namespace flowcache::cli
