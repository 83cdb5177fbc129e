// SPDX-License-Identifier: LGPL-2.1-or-later
// Where a stream's randomness comes from: draw k of chunk c depends on (seed, c, k) and on nothing else.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace flowcache {

// Standard-normal fp32 on the CPU (moved to `device`), so that a seed gives the same video on every device.
at::Tensor draw_noise(uint64_t seed, int64_t chunk, int64_t draw, at::IntArrayRef shape, at::Device device);

}  // namespace flowcache
