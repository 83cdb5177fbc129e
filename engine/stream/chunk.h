// SPDX-License-Identifier: LGPL-2.1-or-later
// A finished chunk as it leaves a stream.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace flowcache {

// Immutable after Stream::next() has returned it.
struct Chunk {
  at::Tensor frames;  // [n, 3, H, W] fp32 in 0..1, on the stream's device
  at::Tensor latent;  // [C, F, h, w] fp32; `frames` was decoded from it
  int64_t index = 0;
  uint64_t seed = 0;
  uint64_t prompt_ticket = 0;
  std::vector<uint8_t> decisions;  // one for each step: 1 computed, 0 reused
  double threshold = 0;
  uint64_t kv_bytes = 0, kv_budget = 0;
  double seconds = 0;
  // How many computed steps the deadline has cost this chunk, including those given up while it was made.
  int governor_level = 0;
  double flops = 0;  // operations of the blocks that ran for it, with the clean pass; 0: not known
};

}  // namespace flowcache
