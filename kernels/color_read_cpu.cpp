// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <vector>

#include "color_convert.h"

namespace flowcache {
namespace {

// A picture's channel of a caller: samples `step` bytes apart.
struct Samples {
  const uint8_t* data;
  int64_t stride, step;
  float at(int64_t x, int64_t y) const { return data[y * stride + x * step]; }
};

void rgba(const fc_planes& planes, float* out, int64_t width, int64_t height) {
  const int64_t plane = width * height;
  for (int64_t y = 0; y < height; ++y) {
    const uint8_t* row = static_cast<const uint8_t*>(planes.plane[0]) + y * planes.stride[0];
    for (int64_t x = 0; x < width; ++x, ++out)
      for (int64_t c = 0; c < 3; ++c) out[c * plane] = static_cast<float>(row[4 * x + c]) / 255.F;
  }
}

// A row of chroma for every pixel. The samples lie on even columns, a quarter of their distance above or below this row.
void chroma_row(const Samples& samples, int64_t width, int64_t height, int64_t y, float* out) {
  const int64_t near = y / 2, last = (height + 1) / 2 - 1;
  const int64_t far = std::clamp<int64_t>(y % 2 == 0 ? near - 1 : near + 1, 0, last);
  const auto at = [&](int64_t x) { return 0.75F * samples.at(x, near) + 0.25F * samples.at(x, far) - 128.F; };
  const int64_t count = (width + 1) / 2;
  float here = at(0);
  for (int64_t i = 0; i < count; ++i) {
    const float next = i + 1 < count ? at(i + 1) : here;
    out[2 * i] = here;
    if (2 * i + 1 < width) out[2 * i + 1] = 0.5F * (here + next);
    here = next;
  }
}

// BT.709, limited range.
void yuv(const fc_planes& planes, bool interleaved, float* out, int64_t width, int64_t height) {
  const auto plane_of = [&](int i) { return static_cast<const uint8_t*>(planes.plane[i]); };
  const Samples luma{plane_of(0), planes.stride[0], 1};
  const Samples u{plane_of(1), planes.stride[1], interleaved ? 2 : 1};
  const Samples v =
      interleaved ? Samples{plane_of(1) + 1, planes.stride[1], 2} : Samples{plane_of(2), planes.stride[2], 1};
  constexpr float red = 0.2126F, blue = 0.0722F, green = 1 - red - blue;
  constexpr float to_red = 2 * (1 - red) / 224, to_blue = 2 * (1 - blue) / 224;
  const int64_t plane = width * height;
  std::vector<float> blueness(static_cast<size_t>(width) + 1), redness(static_cast<size_t>(width) + 1);
  for (int64_t y = 0; y < height; ++y) {
    chroma_row(u, width, height, y, blueness.data());
    chroma_row(v, width, height, y, redness.data());
    for (int64_t x = 0; x < width; ++x, ++out) {
      const float l = (luma.at(x, y) - 16.F) / 219.F;
      const float r = l + to_red * redness[static_cast<size_t>(x)];
      const float b = l + to_blue * blueness[static_cast<size_t>(x)];
      const float g = (l - red * r - blue * b) / green;
      out[0] = std::clamp(r, 0.F, 1.F);
      out[plane] = std::clamp(g, 0.F, 1.F);
      out[2 * plane] = std::clamp(b, 0.F, 1.F);
    }
  }
}

}  // namespace

void color_read_on_cpu(const fc_planes& planes, const at::Tensor& frame) {
  const int64_t height = frame.size(1), width = frame.size(2);
  float* const out = frame.mutable_data_ptr<float>();
  if (planes.format == FC_FORMAT_RGBA)
    rgba(planes, out, width, height);
  else
    yuv(planes, planes.format == FC_FORMAT_NV12, out, width, height);
}

}  // namespace flowcache
