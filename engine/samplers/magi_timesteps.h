// SPDX-License-Identifier: LGPL-2.1-or-later
// MAGI-1's time grid (arXiv 2505.13211): t runs from 0 (noise) to 1 (clean).
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

namespace flowcache {

struct MagiTimeConfig {
  std::string function = "sd3";      // "sd3": shift applied to u²; "square", "piecewise", "identity"
  double shift = 3.0;                // of "sd3"
  std::string shortcut = "8,16,16";  // of the 12-step distilled model: "8,16,16" or "16,16,8"
};

struct MagiTimes {
  at::Tensor t;                      // [N + 1] fp32, computed in fp32 as published (t[N] is one ulp above 1)
  std::vector<float> time_interval;  // N values, 1 or 2: the step size that a distilled model is told
  std::vector<bool> nearly_clean;    // N + 1 values: t > 0.3, compared in double as published
};

// Throws FC_ERROR_ARGUMENT for steps < 1 or unknown words.
MagiTimes magi_timesteps(int steps, const MagiTimeConfig& config = {});

}  // namespace flowcache
