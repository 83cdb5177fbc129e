// SPDX-License-Identifier: LGPL-2.1-or-later
#include <cmath>

#include "families/wan/wan.h"

namespace flowcache {
namespace {

constexpr double base = 10000.0;

// The angles of the positions first, first + 1, …, times `scale`, for `pairs` frequencies: [positions, pairs]
// in double.
at::Tensor angles(int64_t first, int64_t positions, int64_t pairs, double scale = 1) {
  at::Tensor out = at::empty({positions, pairs}, at::kDouble);
  double* to = out.mutable_data_ptr<double>();
  for (int64_t p = 0; p < positions; ++p)
    for (int64_t i = 0; i < pairs; ++i)
      *to++ = static_cast<double>(first + p) * scale *
              std::pow(base, -static_cast<double>(i) / static_cast<double>(pairs));
  return out;
}

}  // namespace

at::Tensor sinusoid(std::span<const double> timesteps, int64_t dim) {
  const int64_t half = dim / 2;
  at::Tensor out = at::empty({static_cast<int64_t>(timesteps.size()), dim}, at::kFloat);
  float* row = out.mutable_data_ptr<float>();
  for (const double t : timesteps) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle = t * std::pow(base, -static_cast<double>(i) / static_cast<double>(half));
      row[i] = static_cast<float>(std::cos(angle));
      row[half + i] = static_cast<float>(std::sin(angle));
    }
    row += dim;
  }
  return out;
}

std::vector<double> rope_time_frequencies(int64_t head_dim) {
  const int64_t pairs = head_dim / 2 - 2 * (head_dim / 2 / 3);
  std::vector<double> out;
  for (int64_t i = 0; i < pairs; ++i)
    out.push_back(std::pow(base, -static_cast<double>(i) / static_cast<double>(pairs)));
  return out;
}

RopeTable rope_table(const Grid& grid, int64_t first_frame, int64_t head_dim, at::Device device,
                     double spatial_scale) {
  const int64_t pairs = head_dim / 2, third = pairs / 3, f = grid.frames, h = grid.height, w = grid.width;
  const at::Tensor time = angles(first_frame, f, pairs - 2 * third), row = angles(0, h, third, spatial_scale),
                   column = angles(0, w, third, spatial_scale);
  // Each axis has few values, so cos and sin are computed first and then repeated for all tokens.
  const auto spread = [&](at::Tensor (*function)(const at::Tensor&)) {
    const auto part = [&](const at::Tensor& angle, at::IntArrayRef shape) {
      const at::Tensor value = function(angle).to(device, at::kFloat);
      return value.view({shape[0], shape[1], shape[2], angle.size(1)}).expand({f, h, w, angle.size(1)});
    };
    return at::cat({part(time, {f, 1, 1}), part(row, {1, h, 1}), part(column, {1, 1, w})}, -1)
        .view({grid.tokens(), pairs});
  };
  return {spread(at::cos), spread(at::sin)};
}

}  // namespace flowcache
