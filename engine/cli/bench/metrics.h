// SPDX-License-Identifier: LGPL-2.1-or-later
// What a video is compared by. Frames are 8-bit RGBA, alpha ignored; a chunk is its frames one after another.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace flowcache::cli {

struct Frames {
  int width = 0, height = 0, count = 0;
  std::vector<uint8_t> rgba;  // count x height x width x 4
  const uint8_t* frame(int i) const { return rgba.data() + size_t{4} * width * height * i; }
};

// Mean squared error over RGB, in 8-bit units squared.
double mean_squared_error(const Frames& a, const Frames& b);
// 10 log10(255² / mse), 100 dB at most: the same picture.
double psnr(double mse);
constexpr double invisible_psnr = 60;  // dB: better than that no eye sees
// Structural similarity of luma, 8x8 windows at stride 4 (Wang et al. 2004, uniform window), mean over
// frames.
double ssim(const Frames& a, const Frames& b);
// Temporal flicker: mean absolute difference, in 8-bit units, between the frame-to-frame changes of `a` and
// of `b`. 0: moves exactly as the reference does.
double flicker(const Frames& a, const Frames& b);

// The value below which a share `p` (0..1) of the values lie, nearest rank. 0 for none.
double percentile(std::vector<double> values, double p);

}  // namespace flowcache::cli
