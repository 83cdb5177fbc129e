// SPDX-License-Identifier: LGPL-2.1-or-later
#include <cmath>
#include <utility>
#include <vector>

#include "families/wan/wan.h"
#include "networks/upload.h"

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
  // The axes are few values: they go to the device in one piece, and only there are they spread over the tokens.
  const at::Tensor axes[] = {at::cos(time), at::cos(row), at::cos(column),
                             at::sin(time), at::sin(row), at::sin(column)};
  std::vector<at::Tensor> flat;
  for (const at::Tensor& one : axes) flat.push_back(one.to(at::kFloat).flatten());
  const at::Tensor all = upload(at::cat(flat), device);
  int64_t begin = 0;
  const auto part = [&](const at::Tensor& axis, at::IntArrayRef shape) {
    const at::Tensor value = all.narrow(0, begin, axis.numel());
    begin += axis.numel();
    return value.view({shape[0], shape[1], shape[2], axis.size(1)}).expand({f, h, w, axis.size(1)});
  };
  const auto spread = [&] {
    const at::Tensor t = part(time, {f, 1, 1}), r = part(row, {1, h, 1}), c = part(column, {1, 1, w});
    return at::cat({t, r, c}, -1).view({grid.tokens(), pairs});
  };
  at::Tensor cos = spread(), sin = spread();
  return {std::move(cos), std::move(sin)};
}

}  // namespace flowcache
