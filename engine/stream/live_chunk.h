// SPDX-License-Identifier: LGPL-2.1-or-later
// A chunk in flight: its latent, its conditions, and the residuals that reused steps apply.
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

// What the keys and values in a chunk's slots were computed from, so that they can be computed again.
struct Written {
  at::Tensor latent;  // undefined: nothing is there yet
  double timestep = 0;
};

struct LiveChunk {
  int64_t index = 0;
  at::Tensor latent;  // [C, F, h, w] fp32
  int64_t noise_draws = 0;
  std::unique_ptr<SamplerState> sampler;
  std::shared_ptr<const Transformer> network;  // the same for all of its steps
  ConditionPair conditions;
  uint64_t prompt_ticket = 0, lora_ticket = 0;
  double lora_seconds = 0;
  at::Tensor estimate;  // estimate of the clean latent at the step that the KV policy names, [C, F, h, w]
  PerBranch<at::Tensor> tail;  // newest tail residual, if ReusePolicy::keeps_tail()
  Written written;             // by the last computed step, or the clean pass
  double flops = 0;
  Stopwatch watch;      // started when the chunk was ready for its first step
  at::Tensor unseen;    // the clean latent that it was fed with, until its keys are written; else undefined
  double strength = 1;  // that it was fed with
  int first_step = 0;   // that it begins with; as many steps as it has: none runs
  bool is_cut = false;  // a new prompt begins here, without a blend
  // What is done of becoming history; a call that fails does only the rest again.
  bool is_clean = false;         // the clean pass has run
  at::Tensor change;             // see KvStore::finish()
  bool context_changed = false;  // a branch's history has lost or moved tokens
  bool in_history = false;       // its keys are history: all that is left is to decode it
  bool must_compute = true;      // the next step is computed: R1, R5, or there is nothing to reuse
  int recached_chunks = 0;       // chunks of the history that ran once more before it
  double recache_seconds = 0;
  std::vector<uint8_t> decisions;  // one for each finished step: 1 computed, 0 reused

  // The last computed residuals of the policy's kind, at most residuals_kept(). Token residuals are kept for
  // each branch, attention outputs for each branch and layer (in `attention`), all others in branch 0.
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
