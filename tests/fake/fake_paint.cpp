// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fake_paint.h"

#include <algorithm>
#include <cmath>

namespace fake {

std::array<uint8_t, 3> seed_colour(uint64_t seed) {
  return {static_cast<uint8_t>(60 + seed * 37 % 150), static_cast<uint8_t>(60 + seed * 101 % 150),
          static_cast<uint8_t>(60 + seed * 199 % 150)};
}

std::array<uint8_t, 3> Picture::pixel(uint32_t x, uint32_t y) const {
  const uint32_t band = std::min(2u, y * 3 / height);
  if (const auto grey = static_cast<uint8_t>(fed.level); band == 2 && fed.level >= 0)
    return {grey, grey, grey};
  if (band == 2 && !twice) return seed_colour(seed);
  const uint32_t bit = 15 - std::min(15u, x * 16 / width);
  const uint8_t level = ((band == 1 ? hash : number) >> bit) & 1 ? 255 : 0;
  return {level, level, level};
}

std::array<uint8_t, 3> yuv_of(const std::array<uint8_t, 3>& rgb) {
  const double r = rgb[0] / 255.0, g = rgb[1] / 255.0, b = rgb[2] / 255.0;
  const double y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  const double u = (b - y) / 1.8556, v = (r - y) / 1.5748;
  return {static_cast<uint8_t>(std::lround(16 + 219 * y)), static_cast<uint8_t>(std::lround(128 + 224 * u)),
          static_cast<uint8_t>(std::lround(128 + 224 * v))};
}

void paint(const Picture& p, const fc_planes& planes) {
  const auto at = [&](int plane, uint32_t y) {
    return static_cast<uint8_t*>(planes.plane[plane]) + y * planes.stride[plane];
  };
  if (planes.format == FC_FORMAT_RGBA) {
    for (uint32_t y = 0; y < p.height; ++y) {
      for (uint32_t x = 0; x < p.width; ++x) {
        const auto rgb = p.pixel(x, y);
        uint8_t* to = at(0, y) + 4 * x;
        std::copy(rgb.begin(), rgb.end(), to);
        to[3] = 255;
      }
    }
    return;
  }
  for (uint32_t y = 0; y < p.height; ++y) {
    for (uint32_t x = 0; x < p.width; ++x) at(0, y)[x] = yuv_of(p.pixel(x, y))[0];
  }
  for (uint32_t y = 0; y < (p.height + 1) / 2; ++y) {
    for (uint32_t x = 0; x < (p.width + 1) / 2; ++x) {
      auto yuv = yuv_of(p.pixel(2 * x, 2 * y));
      if (p.fed.u >= 0 && 2 * y * 3 / p.height == 2)
        yuv = {yuv[0], static_cast<uint8_t>(p.fed.u), static_cast<uint8_t>(p.fed.v)};
      if (planes.format == FC_FORMAT_NV12) {
        at(1, y)[2 * x] = yuv[1];
        at(1, y)[2 * x + 1] = yuv[2];
      } else {
        at(1, y)[x] = yuv[1];
        at(2, y)[x] = yuv[2];
      }
    }
  }
}

}  // namespace fake
