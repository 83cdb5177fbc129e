// SPDX-License-Identifier: LGPL-2.1-or-later
// A chunk in flight: its latent, its condition and what the reuse policy may apply again.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <vector>

#include "base/stopwatch.h"
#include "cache/reuse/reuse_policy.h"
#include "networks/transformer.h"
#include "samplers/sampler.h"
#include "stream/conditions.h"
#include "stream/residual/kept.h"

namespace flowcache {

struct LiveChunk {
  int64_t index = 0;
  at::Tensor latent;  // [C, F, h, w] fp32
  int64_t noise_draws = 0;
  std::unique_ptr<SamplerState> sampler;
  ConditionPair conditions;
  uint64_t prompt_ticket = 0;
  at::Tensor estimate;         // x0 as predicted at the step that the KV policy compares, [C, F, h, w]
  PerBranch<at::Tensor> tail;  // newest tail residual, if the policy wants it beside its own kind
  double flops = 0;
  Stopwatch watch;                 // since it was ready for its first step
  bool is_cut = false;             // begins another prompt without a transition
  bool must_compute = true;        // R1 at first, R5 later, or nothing to reuse
  std::vector<uint8_t> decisions;  // one a step done

  // The last computed residuals of the policy's kind, as many as it wants kept. Token residuals: of each
  // branch; attention outputs: of each branch and layer, in `attention`; the others: branch 0 only.
  PerBranch<Residuals> residuals;
  PerBranch<std::vector<Residuals>> attention;

  void drop_residuals() {
    residuals = {};
    attention = {};
    tail = {};
  }
  uint64_t residual_bytes() const {
    uint64_t bytes = 0;
    for (const Residuals& one : residuals) bytes += one.bytes();
    for (const auto& layers : attention)
      for (const Residuals& one : layers) bytes += one.bytes();
    for (const at::Tensor& one : tail) bytes += one.defined() ? one.nbytes() : 0;
    return bytes;
  }
};

}  // namespace flowcache
