// SPDX-License-Identifier: LGPL-2.1-or-later
// A finished chunk as it leaves a stream.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace flowcache {

// Immutable once made.
struct Chunk {
  at::Tensor frames;  // [n, 3, H, W] fp32 in 0..1, on the stream's device
  at::Tensor latent;  // [C, F, h, w] fp32, what was decoded
  int64_t index = 0;
  uint64_t seed = 0;
  uint64_t prompt_ticket = 0;
  std::vector<uint8_t> decisions;  // one a step: 1 computed, 0 reused
  double threshold = 0;
  uint64_t kv_bytes = 0, kv_budget = 0;
  double seconds = 0;
  int governor_level =
      0;  // computed steps that the deadline has cost this chunk, those given up on the way included
  double flops = 0;  // of the blocks that ran for it, clean pass included; 0 where the family does not tell
};

}  // namespace flowcache
