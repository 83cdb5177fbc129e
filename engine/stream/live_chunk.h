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
  at::Tensor estimate;  // x0 as foretold at the step that the KV policy compares, [C, F, h, w]
  std::array<at::Tensor, max_branches>
      tail;  // newest tail residual, if the policy wants it beside its own kind
  double flops = 0;
  int governor_level = 0;    // when its first step ran, which is when the number of its steps is settled
  bool must_compute = true;  // R1 at first, R5 later, or nothing to reuse
  std::vector<uint8_t> decisions;  // one a step done

  // The last computed residuals of the policy's kind, newest first, as many as it wants kept. Token
  // residuals: one list a branch; the others: branch 0 only.
  std::array<std::deque<at::Tensor>, max_branches> residuals;

  void keep_residual(size_t branch, const at::Tensor& computed, int kept) {
    auto& list = residuals[branch];
    list.push_front(computed);
    while (static_cast<int>(list.size()) > kept) list.pop_back();
  }
  // The sum of the kept residuals times `factors`; the newest itself for {1}, so that holding changes no bit.
  at::Tensor combined(size_t branch, const std::vector<double>& factors) const {
    const auto& list = residuals[branch];
    if (factors.size() == 1 && factors[0] == 1) return list.at(0);
    at::Tensor sum = list.at(0) * factors.at(0);
    for (size_t i = 1; i < factors.size(); ++i) sum = at::add(sum, list.at(i), factors[i]);
    return sum;
  }

  uint64_t residual_bytes() const {
    uint64_t bytes = 0;
    for (const auto& list : residuals)
      for (const at::Tensor& one : list) bytes += one.nbytes();
    for (const at::Tensor& one : tail) bytes += one.defined() ? one.nbytes() : 0;
    return bytes;
  }
};

}  // namespace flowcache
