// SPDX-License-Identifier: LGPL-2.1-or-later
// The randomness of a stream: draw k of chunk c depends only on (seed, c, k).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace flowcache {

// Standard-normal fp32. It is drawn on the CPU and moved to `device`, so that a seed gives the same video on
// all devices.
at::Tensor draw_noise(uint64_t seed, int64_t chunk, int64_t draw, at::IntArrayRef shape, at::Device device);

}  // namespace flowcache
