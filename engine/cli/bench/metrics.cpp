// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/bench/metrics.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace flowcache::cli {

namespace {

std::vector<double> luma(const uint8_t* rgba, size_t pixels) {
  std::vector<double> y(pixels);
  for (size_t i = 0; i < pixels; ++i, rgba += 4)
    y[i] = 0.2126 * rgba[0] + 0.7152 * rgba[1] + 0.0722 * rgba[2];
  return y;
}

double window_ssim(const double* a, const double* b, int width) {
  constexpr int size = 8;
  constexpr double n = size * size, c1 = 6.5025, c2 = 58.5225;  // (0.01·255)², (0.03·255)²
  double sum_a = 0, sum_b = 0, aa = 0, bb = 0, ab = 0;
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x) {
      const double p = a[y * width + x], q = b[y * width + x];
      sum_a += p;
      sum_b += q;
      aa += p * p;
      bb += q * q;
      ab += p * q;
    }
  const double ma = sum_a / n, mb = sum_b / n;
  const double va = aa / n - ma * ma, vb = bb / n - mb * mb, cov = ab / n - ma * mb;
  return (2 * ma * mb + c1) * (2 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2));
}

}  // namespace

double mean_squared_error(const ShownFrames& a, const ShownFrames& b) {
  double sum = 0;
  for (size_t i = 0; i < a.rgba.size(); i += 4)
    for (size_t c = i; c < i + 3; ++c) {
      const double d = static_cast<double>(a.rgba[c]) - b.rgba[c];
      sum += d * d;
    }
  return a.rgba.empty() ? 0 : sum / (0.75 * static_cast<double>(a.rgba.size()));
}

double psnr(double mse) {
  return mse <= 255.0 * 255.0 * 1e-10 ? 100 : 10 * std::log10(255.0 * 255.0 / mse);
}

double ssim(const ShownFrames& a, const ShownFrames& b) {
  double sum = 0;
  int windows = 0;
  const size_t pixels = size_t{1} * a.width * a.height;
  for (int frame = 0; frame < a.count; ++frame) {
    const auto ya = luma(a.frame(frame), pixels), yb = luma(b.frame(frame), pixels);
    for (int y = 0; y + 8 <= a.height; y += 4)
      for (int x = 0; x + 8 <= a.width; x += 4, ++windows)
        sum += window_ssim(&ya[size_t{1} * y * a.width + x], &yb[size_t{1} * y * a.width + x], a.width);
  }
  return windows ? sum / windows : 1;
}

double flicker(const ShownFrames& a, const ShownFrames& b) {
  const size_t size = size_t{4} * a.width * a.height;
  double sum = 0;
  for (int frame = 1; frame < a.count; ++frame)
    for (size_t i = 0; i < size; ++i) {
      if (i % 4 == 3) continue;
      const int da = a.frame(frame)[i] - a.frame(frame - 1)[i],
                db = b.frame(frame)[i] - b.frame(frame - 1)[i];
      sum += std::abs(da - db);
    }
  return a.count < 2 ? 0 : sum / (0.75 * static_cast<double>(size) * (a.count - 1));
}

double percentile(std::vector<double> values, double p) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<size_t>(std::ceil(p * static_cast<double>(values.size())));
  return values[std::clamp<size_t>(rank, 1, values.size()) - 1];
}

}  // namespace flowcache::cli
