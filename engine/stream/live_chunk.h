// SPDX-License-Identifier: LGPL-2.1-or-later
// A chunk in flight: its latent, its condition and what the reuse policy may apply again.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <deque>
#include <memory>
#include <vector>

#include "cache/reuse/reuse_policy.h"
#include "networks/transformer.h"
#include "samplers/sampler.h"

namespace flowcache {

// Guidance branches: 0 conditional, 1 unconditional.
constexpr int max_branches = 2;

struct LiveChunk {
  int64_t index = 0;
  at::Tensor latent;  // [C, F, h, w] fp32
  int64_t noise_draws = 0;
  std::unique_ptr<SamplerState> sampler;
  std::array<std::shared_ptr<const Condition>, max_branches> conditions;
  uint64_t prompt_ticket = 0;
  bool must_compute = true;        // R1 at first, R5 later, or nothing to reuse
  std::vector<uint8_t> decisions;  // one a step done

  // The last computed residual of the policy's kind. Token residuals: one a branch; the others: branch 0 only.
  std::array<at::Tensor, max_branches> residual;

  uint64_t residual_bytes() const {
    uint64_t bytes = 0;
    for (const auto& tensor : residual) bytes += tensor.defined() ? tensor.nbytes() : 0;
    return bytes;
  }
};

}  // namespace flowcache
