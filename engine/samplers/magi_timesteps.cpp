// SPDX-License-Identifier: LGPL-2.1-or-later
#include "samplers/magi_timesteps.h"

#include "base/error.h"

namespace flowcache {

namespace {

at::Tensor grid(int steps, const MagiTimeConfig& config) {
  if (steps != 12 || config.function != "sd3") return at::linspace(0, 1, steps + 1, at::kFloat);
  const bool late = config.shortcut == "16,16,8";
  const double base[3] = {0, late ? 1.0 / 16 : 1.0 / 8, late ? 1.0 / 8 : 3.0 / 16};
  std::vector<float> u;
  for (int quarter = 0; quarter < 4; ++quarter)
    for (const double offset : base) u.push_back(static_cast<float>(quarter * 0.25 + offset));
  u.push_back(1.0f);
  return at::tensor(u);
}

at::Tensor transform(const at::Tensor& u, const MagiTimeConfig& config) {
  if (config.function == "identity") return u;
  if (config.function == "square") return u * u;
  if (config.function == "piecewise")  // half of the way in the first 7/8 of the steps
    return at::where(u < 0.875, u * (0.5 / 0.875), 0.5 + (u - 0.875) * (0.5 / 0.125));
  if (config.function != "sd3")
    throw Error(FC_ERROR_ARGUMENT, "time function \"" + config.function +
                                       "\" is unknown; use sd3, square, piecewise or identity");
  const at::Tensor s = u * u;
  const double inverse = 1.0 / config.shift;
  return (s * inverse) / (1 + (inverse - 1) * s);
}

}  // namespace

MagiTimes magi_timesteps(int steps, const MagiTimeConfig& config) {
  if (steps < 1) throw Error(FC_ERROR_ARGUMENT, "steps=" + std::to_string(steps) + " must be at least 1");
  if (config.shortcut != "8,16,16" && config.shortcut != "16,16,8")
    throw Error(FC_ERROR_ARGUMENT,
                "shortcut \"" + config.shortcut + "\" is unknown; use \"8,16,16\" or \"16,16,8\"");
  MagiTimes times;
  times.t = transform(grid(steps, config), config).contiguous();
  const bool late = config.shortcut == "16,16,8";
  const float intervals[3] = {late ? 1.f : 2.f, 1.f, late ? 2.f : 1.f};
  for (int i = 0; i < steps; ++i) times.time_interval.push_back(steps % 3 == 0 ? intervals[i % 3] : 1.f);
  for (int i = 0; i <= steps; ++i) times.nearly_clean.push_back(times.t[i].item<float>() > 0.3);
  return times;
}

}  // namespace flowcache
